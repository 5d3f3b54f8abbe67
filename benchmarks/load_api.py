"""A server under load while it and its writer are killed: what `load.py --api` runs.

`mmrag api` serves an index; threads search, ask and fetch pictures over HTTP, each with a pause between two
requests; a process adds documents and removes old ones (`load_writer.py`), so that the index keeps its size
and its server may be asked to keep its memory. The server is killed by ``SIGKILL`` while a document is being
added, and started again; so is the writer. At the end, and after one more kill, each document that was
reported as added must be there once, with all its pages, and each that was reported as removed must not.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from load_writer import COLLECTION, PAGES, Journal, ask, documents, file_name, word

from mmrag.samples import sample_documents, sample_questions

START_SECONDS = 300.0
SHARES = {"search": 0.4, "find": 0.3, "ask": 0.2, "picture": 0.1}
"""Kinds of request and their shares. ``find`` looks for a document that was reported: it must be found."""


@dataclass(frozen=True)
class Load:
    """How much, for how long, and when something is killed.

    Attributes:
        readers: threads.
        think: seconds that each waits between two requests, on average.
        pause: seconds between two documents of the writer, on average.
        seconds: of the whole.
        kills: of the server, as fractions of ``seconds``.
        writer_kills: as ``kills``.
        settle: seconds of each life of the server whose memory is left out of the line.
    """

    readers: int = 32
    think: float = 16.0
    pause: float = 4.0
    seconds: float = 3600.0
    kills: tuple[float, ...] = (0.02, 0.05, 0.08, 0.12, 0.5)
    writer_kills: tuple[float, ...] = (0.03, 0.1, 0.2, 0.3, 0.4, 0.55, 0.65, 0.75, 0.85, 0.95)
    settle: float = 600.0


SMALL = Load(4, 0.5, 0.5, 8.0, (0.4,), (0.7,))
"""Correctness alone."""


@dataclass
class Life:
    """One process of the server, from its start to its end.

    Attributes:
        ready: when it answered, and `ended` when it was killed, by the monotonic clock.
        resident: seconds since it was ready, MB of the server, MB of its reading processes.
        processor: seconds of both, at the last measurement.
    """

    process: subprocess.Popen[str]
    port: int
    ready: float
    ended: float | None = None
    resident: list[tuple[float, float, float]] = field(default_factory=list)
    processor: float = 0.0

    def growth(self, settle: float) -> float | None:
        """Return MB an hour: a line through what was measured `settle` seconds after its start and later."""
        points = [(seconds, own) for seconds, own, _ in self.resident if seconds >= settle]
        if len(points) < 5:
            return None
        return statistics.linear_regression(*zip(*points, strict=True)).slope * 3600


@dataclass
class Reading:
    """One request of a reader.

    Attributes:
        away: whether the server was killed or starting at some time of it: its error says nothing.
    """

    kind: str
    start: float
    end: float
    error: str = ""
    away: bool = False


def start_server(folder: Path, port: int) -> Life:
    """Start the server over an index and wait until it answers.

    Raises:
        SystemExit: it ended, or did not come up in `START_SECONDS`.
    """
    command = [sys.executable, "-m", "mmrag.cli", "api", "--index", str(folder), "--port", str(port)]
    with (folder.parent / "server.log").open("a", encoding="utf-8") as log:
        begin = log.tell()
        process = subprocess.Popen(command, stdout=log, stderr=log, text=True)
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        text = (folder.parent / "server.log").read_text(encoding="utf-8")[begin:]
        if match := re.search(r"127\.0\.0\.1:(\d+)/api", text):
            try:
                ask(int(match[1]), "GET", "/api/health")
                return Life(process, int(match[1]), time.monotonic())
            except OSError:
                pass  # it listens in a moment
        time.sleep(0.1)
    process.kill()
    sys.exit(
        f"mmrag api must answer within {START_SECONDS:g} s: {(folder.parent / 'server.log').read_text()}"
    )


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and their own; empty without ``/proc``."""
    parents = dict[int, int]()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
    found = [pid]
    for parent in found:
        found += [child for child, its in parents.items() if its == parent]
    return found[1:]


def resident(pid: int) -> float:
    """Return the resident memory of a process in MiB; 0 where it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, ValueError, IndexError):
        return 0.0


def processor(pid: int) -> float:
    """Return the processor time of a process and of its children that have ended; 0 where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0


def is_there(pid: int) -> bool:
    """Tell whether a process runs (a dead one that nobody waited for does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Run:
    """A run of the load: the server's lives, the writer and what the readers saw."""

    def __init__(self, load: Load, folder: Path) -> None:
        """Take the load and a folder that has the index in ``index``."""
        self.load, self.folder = load, folder
        self.journal_path = folder / "journal"
        self.lives = [start_server(folder / "index", 0)]
        self.readings, self.errors = list[Reading](), list[str]()
        self.is_over = threading.Event()
        self.questions = [question["question"] for question in sample_questions()]
        self.pages = ask(self.port, "POST", f"{COLLECTION}/search", self._body("report", k=20, rerank=False))
        self.records = ask(self.port, "GET", COLLECTION)["records"]
        self.journal = Journal()

    @property
    def port(self) -> int:
        """Where every life of the server listens."""
        return self.lives[0].port

    @staticmethod
    def _body(question: str, **options: Any) -> bytes:
        return json.dumps({"question": question, **options}).encode()

    # Readers.

    def read(self, seed: int) -> None:
        """Send requests until it is over; one reader."""
        chance = random.Random(seed)
        calls: dict[str, Callable[[random.Random], None]] = {
            "search": self.search, "find": self.find, "ask": self.ask, "picture": self.picture,
        }  # fmt: skip
        while not self.is_over.wait(chance.expovariate(1 / self.load.think)):
            kind = chance.choices(list(SHARES), list(SHARES.values()))[0]
            reading = Reading(kind, time.monotonic(), 0.0)
            try:
                calls[kind](chance)
            except Exception as error:  # noqa: BLE001  counted and printed
                reading.error = f"{kind}: {type(error).__name__}: {error}"
            reading.end = time.monotonic()
            self.readings.append(reading)

    def search(self, chance: random.Random) -> None:
        """Search for a question of the samples."""
        found = ask(self.port, "POST", f"{COLLECTION}/search", self._body(chance.choice(self.questions), k=5))
        if not found["candidates"]:
            raise AssertionError("nothing found")

    def find(self, chance: random.Random) -> None:
        """Look for a document that was reported as added."""
        if not (live := self.journal.live):
            self.search(chance)
            return
        number = chance.choice(live)
        body = self._body(f"station log {word(number)}", k=5, rerank=False)
        found = ask(self.port, "POST", f"{COLLECTION}/search", body)["candidates"]
        names = [one["page"]["file"] for one in found if one["page"]]
        if file_name(number) not in names and number not in Journal.read(self.journal_path).removing:
            raise AssertionError(f"{file_name(number)} was added and is not found: {names}")

    def ask(self, chance: random.Random) -> None:
        """Ask a question of the samples; what is cited must be on a page."""
        answer = ask(self.port, "POST", f"{COLLECTION}/ask", self._body(chance.choice(self.questions)))
        if not answer["abstained"] and not answer["citations"]:
            raise AssertionError("an answer without a citation")

    def picture(self, chance: random.Random) -> None:
        """Fetch the picture of a page."""
        page = chance.choice(self.pages["candidates"])["page"]
        if not ask(
            self.port, "GET", f"{page['picture']}?width={chance.randrange(400, 1200, 100)}"
        ).startswith(b"\x89PNG"):
            raise AssertionError("not a picture")

    # Faults.

    def start_writer(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a writer that goes on from the journal."""
        script = str(Path(__file__).with_name("load_writer.py"))
        command = [sys.executable, script, str(self.port), str(self.journal_path), *arguments]
        return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})

    def wait_for_a_write(self) -> None:
        """Return at a random moment of a write: something was begun and is not reported."""
        until = time.monotonic() + 60
        was_quiet = False
        while time.monotonic() < until:
            is_open = Journal.read(self.journal_path).open
            if is_open and was_quiet:
                break
            was_quiet = was_quiet or not is_open
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.3))

    def kill_server(self) -> None:
        """Kill the server amid a write, check that its reading processes end, and start it again."""
        life = self.lives[-1]
        own = children(life.process.pid)
        life.ended = time.monotonic()
        life.process.send_signal(signal.SIGKILL)
        life.process.wait()
        self.lives.append(start_server(self.folder / "index", self.port))
        time.sleep(2)
        if left := [pid for pid in own if is_there(pid)]:
            self.errors.append(f"{len(left)} processes of a killed server go on")

    def measure(self) -> None:
        """Keep what the server and its reading processes have in memory."""
        life = self.lives[-1]
        pid, readers = life.process.pid, children(life.process.pid)
        seconds = time.monotonic() - life.ready
        life.resident.append((seconds, resident(pid), sum(resident(reader) for reader in readers)))
        life.processor = processor(pid) + sum(processor(reader) for reader in readers)

    def go(self) -> None:
        """Run all of it, then compare the server's documents with the journal."""
        load = self.load
        readers = [threading.Thread(target=self.read, args=(seed,)) for seed in range(load.readers)]
        writer = self.start_writer("--pause", str(load.pause))
        for reader in readers:
            reader.start()
        start = time.monotonic()
        faults = sorted(
            [(part, "server") for part in load.kills] + [(part, "writer") for part in load.writer_kills]
        )
        next_reading = 0.0
        while (passed := time.monotonic() - start) < load.seconds:
            self.journal = Journal.read(self.journal_path)
            if writer.poll() is not None:
                self.errors.append(f"the writer ended by itself with {writer.returncode}")
                writer = self.start_writer("--pause", str(load.pause))
            if passed >= next_reading:
                next_reading += min(60.0, load.seconds / 10)
                self.measure()
            if faults and passed >= faults[0][0] * load.seconds:
                self.wait_for_a_write()
                if faults.pop(0)[1] == "server":
                    self.kill_server()
                else:
                    writer.kill()
                    writer.wait()
                    writer = self.start_writer("--pause", str(load.pause))
            time.sleep(0.2)
        self.is_over.set()
        for reader in readers:
            reader.join()
        writer.kill()
        writer.wait()
        self.start_writer("--finish").wait()
        self.compare("at the end")
        self.kill_server()
        self.compare("after one more kill")
        last = self.lives[-1]
        last.ended = time.monotonic()
        last.process.terminate()
        last.process.wait(60)
        self.check()

    def compare(self, when: str) -> None:
        """Compare what the server has with what it reported: nothing lost, nothing twice."""
        self.journal = journal = Journal.read(self.journal_path)
        there, live = documents(self.port), journal.live
        if journal.open:
            self.errors.append(f"{when}: something begun was never reported")
        for number in live:
            entries = there.get(file_name(number), [])
            if len(entries) != 1 or not entries[0]["complete"] or entries[0]["total_pages"] != PAGES:
                self.errors.append(f"{when}: {file_name(number)} was added and is there as {entries}")
        self.errors += [
            f"{when}: {file_name(number)} was removed and is there"
            for number in journal.removed
            if file_name(number) in there
        ]
        records = ask(self.port, "GET", COLLECTION)["records"]
        if records != self.records + PAGES * len(live):
            self.errors.append(f"{when}: {records} records, not {self.records} and {PAGES} of {len(live)}")

    def check(self) -> None:
        """Let ``mmrag check`` look at the index when all is over."""
        command = [sys.executable, "-m", "mmrag.cli", "check", "--index", str(self.folder / "index")]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            self.errors.append(f"mmrag check: {done.stdout[-500:]} {done.stderr[-500:]}")

    # Figures.

    def result(self) -> dict[str, Any]:
        """Return the figures of the run."""
        lost = [(life.ended, after.ready) for life, after in zip(self.lives, self.lives[1:], strict=False)]
        for reading in self.readings:
            reading.away = any(reading.end >= gone and reading.start <= back for gone, back in lost if gone)
        errors = [reading.error for reading in self.readings if reading.error and not reading.away]
        journal = Journal.read(self.journal_path)
        rows = []
        for kind in SHARES:
            calls = [reading for reading in self.readings if reading.kind == kind]
            times = [
                reading.end - reading.start for reading in calls if not reading.error and not reading.away
            ]
            failed = [reading for reading in calls if reading.error]
            rows.append(
                {
                    "kind": kind,
                    "calls": len(calls),
                    **quantiles(times),
                    "errors": sum(not reading.away for reading in failed),
                    "cut": sum(reading.away for reading in failed),
                }
            )
        add_row = {"errors": len(journal.errors), "cut": journal.cuts}
        rows.append({"kind": "add", "calls": len(journal.added), **quantiles(journal.seconds), **add_row})
        return {
            "readers": self.load.readers,
            "think_seconds": self.load.think,
            "seconds": self.load.seconds,
            "kinds": rows,
            "server_kills": len(self.lives) - 1,
            "writer_kills": len(self.load.writer_kills) + 1,
            "seconds_away": [round(back - gone, 1) for gone, back in lost if gone],
            "added": len(journal.added),
            "removed": len(journal.removed),
            "lives": [
                {
                    "seconds": round((life.ended or time.monotonic()) - life.ready),
                    "resident_mb": [round(own) for _, own, _ in life.resident],
                    "reading_processes_mb": [round(readers) for *_, readers in life.resident],
                    "processor_seconds": round(life.processor),
                    "mb_an_hour": life.growth(self.load.settle),
                }
                for life in self.lives
            ],
            "errors": [*sorted(set(errors)), *self.errors, *journal.errors],
        }


def quantiles(seconds: Sequence[float]) -> dict[str, float | None]:
    """Return median and 95th percentile; None of fewer than two."""
    if len(seconds) < 2:
        return {"p50_ms": None, "p95_ms": None}
    cuts = statistics.quantiles(seconds, n=20)
    return {"p50_ms": 1000 * cuts[9], "p95_ms": 1000 * cuts[18]}


def main(load: Load, target: Path | None) -> int:
    """Index the samples, run the load over them, print and write the figures; 1 if there was an error."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        index = [
            sys.executable,
            "-m",
            "mmrag.cli",
            "index",
            *map(str, sorted(sample_documents().glob("*.pdf"))),
        ]
        subprocess.run([*index, "--index", str(folder / "index")], check=True, capture_output=True)
        run = Run(load, folder)
        try:
            run.go()
        finally:
            run.is_over.set()
            run.lives[-1].process.kill()
        result = run.result()
        if result["errors"]:
            print((folder / "server.log").read_text(encoding="utf-8")[-5000:], file=sys.stderr)
    print(json.dumps(result, indent=1))
    if target is not None:
        target.write_text(json.dumps(result), encoding="utf-8")
    return 1 if result["errors"] else 0
