"""One index under load: threads that search, threads that ask, and one that writes beside them.

    python benchmarks/load.py --searchers 16 --askers 16 --seconds 60
    python benchmarks/load.py --small        # correctness alone, for a machine that does much else
    python benchmarks/load.py --api --seconds 3600   # over HTTP, with kills: load_api.py

Printed are the errors (there must be none), the times of searches and questions, processor time, and the
resident memory at the beginning and ten times more. Memory and processor time are this process's
own, without the processes that read documents.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import load_api

from mmrag import DocumentQA
from mmrag.documents.limits import resident_mb
from mmrag.samples import sample_documents, sample_questions

READINGS = 10


@dataclass
class Counts:
    """What the threads of one kind did.

    Attributes:
        seconds: of each call.
        errors: what calls raised, or what was wrong with what they returned.
    """

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def line(self, name: str) -> str:
        """Return number, median and 95th percentile in one line."""
        if len(self.seconds) < 2:
            return f"{name:9} {len(self.seconds)} calls"
        cuts = statistics.quantiles(self.seconds, n=20)
        return f"{name:9} {len(self.seconds):6} calls, p50 {cuts[9]:7.3f} s, p95 {cuts[18]:7.3f} s"


def repeat(work: Callable[[], None], counts: Counts, is_over: threading.Event) -> None:
    """Call `work` until it is over, and count what it takes and raises."""
    while not is_over.is_set():
        start = time.monotonic()
        try:
            work()
        except Exception as error:  # noqa: BLE001  counted and printed
            counts.errors.append(f"{type(error).__name__}: {error}")
        counts.seconds.append(time.monotonic() - start)


def run(qa: DocumentQA, questions: Sequence[str], searchers: int, askers: int, seconds: float) -> list[str]:
    """Put the load on an index for some seconds; print the figures and return the errors."""
    chance = random.Random(3)
    kinds = {"search": Counts(), "ask": Counts(), "write": Counts()}
    notes = iter(range(10**9))

    def search() -> None:
        if not qa.search(chance.choice(questions), k=5, rerank=False):
            raise AssertionError("a search found nothing")

    def ask() -> None:
        answer = qa.ask(chance.choice(questions))
        missing = [c.number for c in answer.citations if c.page is not None and c.picture is None]
        if missing:
            raise AssertionError(f"citations {missing} without a picture")

    def write() -> None:
        number = next(notes)
        qa.add_texts([f"Note {number} of the load."], ids=[f"note {number % 50}"])
        time.sleep(0.05)

    is_over = threading.Event()
    work = [("search", search)] * searchers + [("ask", ask)] * askers + [("write", write)]
    threads = [threading.Thread(target=repeat, args=(call, kinds[name], is_over)) for name, call in work]
    memory, processor = [resident_mb()], time.process_time()
    for thread in threads:
        thread.start()
    for _ in range(READINGS):
        time.sleep(seconds / READINGS)
        memory.append(resident_mb())
    is_over.set()
    for thread in threads:
        thread.join()
    for name, counts in kinds.items():
        print(counts.line(name))
    print(f"processor {time.process_time() - processor:.1f} s in {seconds:g} s")
    print(
        f"resident  {', '.join(f'{mb:.0f}' for mb in memory)} MB, at the beginning and {READINGS} times more"
    )
    errors = [error for counts in kinds.values() for error in counts.errors]
    print(f"errors    {len(errors)}")
    for error in sorted(set(errors))[:10]:
        print(f"  {error[:300]}")
    return errors


def reopen(path: Path, times: int) -> float:
    """Open and close an index again and again; return the MB that each time leaves behind."""
    for _ in range(times // 2):  # what is loaded once is loaded
        DocumentQA.open(path).close()
    before = resident_mb()
    for _ in range(times):
        DocumentQA.open(path).close()
    return (resident_mb() - before) / times


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the load; the exit code is 1 if there was an error."""
    parser = argparse.ArgumentParser(description="One index under load.")
    parser.add_argument("--searchers", type=int, default=16, help="threads that search")
    parser.add_argument("--askers", type=int, default=16, help="threads that ask")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the load")
    parser.add_argument("--reopen", type=int, default=0, help="then open and close it this many times")
    parser.add_argument("--small", action="store_true", help="two of each for a second")
    parser.add_argument("--api", action="store_true", help="over HTTP, with kills of server and writer")
    parser.add_argument("--readers", type=int, default=32, help="threads of --api")
    parser.add_argument("--think", type=float, default=16.0, help="seconds between two requests of each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of --api")
    options = parser.parse_args(arguments)
    if options.api and options.small:
        return load_api.main(load_api.SMALL, options.json)
    if options.api:
        load = load_api.Load(options.readers, options.think, seconds=options.seconds)
        return load_api.main(load, options.json)
    if options.small:
        options.searchers = options.askers = 2
        options.seconds = 1.0
    documents = sorted(sample_documents().glob("insurance*" if options.small else "*.pdf"))
    questions = [question["question"] for question in sample_questions()]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "index")
        with DocumentQA.open(path) as qa:
            qa.add(documents)
            for question in questions[: 1 if options.small else None]:  # what is read on first use is read
                qa.ask(question)
            errors = run(qa, questions, options.searchers, options.askers, options.seconds)
        if options.reopen:
            print(f"left by an open and close: {reopen(path, options.reopen):.3f} MB")
    return 1 if errors else 0


if __name__ == "__main__":
    raise SystemExit(main())
