"""Questions about one's own documents, made by templates or by a served model, as a pack to measure on.

Decisions taken here:

* A question's evidence is its page and every page that gives the same question or is a copy of it.
* Documents take turns, and in each of them kinds of questions, so that a long file or a large table does not
  ask most. Documents without a question stay in the pack: a search has to tell them apart.
* Questions are marked as made and never count as written by people. They are not filtered by whether a search
  finds them: that would choose the questions that this search is good at.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrag.files import atomic_write
from mmrag.training.mining.records import read_mined
from mmrag.training.pairs.make import Progress, make_pairs
from mmrag.training.pairs.report import PairReport
from mmrag.training.pairs.settings import PairSettings

if TYPE_CHECKING:
    from mmrag.documents import ReaderSettings
    from mmrag.training.pairs.question_writer import QuestionWriter

ALIKE = 0.95
"""Similarity from which two questions are one: "in 2022" and "in 2023" must stay two."""
WORK_FOLDER = "made"
"""Of the pairs that the questions come from, with their settings; a broken-off run resumes in it."""


@dataclass(slots=True)
class QuestionReport:
    """What was made.

    Attributes:
        path: the pack.
        documents: files in it.
        questions: the lines of ``queries.jsonl``.
        pairs: counts of the run that made them.
    """

    path: Path
    documents: int
    questions: Sequence[Mapping[str, Any]] = field(repr=False)
    pairs: PairReport

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain data."""
        return {
            "path": str(self.path),
            "documents": self.documents,
            "questions": len(self.questions),
            "kinds": dict(Counter(question["kind"] for question in self.questions)),
            "skipped": self.pairs.skipped,
        }

    def sample(self, count: int = 5) -> list[str]:
        """Return lines of text on a few questions, from all over the pack: to see whether they make sense."""
        step = max(1, len(self.questions) // count)
        return [_sample_line(question) for question in self.questions[::step][:count]]


def make_questions(
    inputs: Any,  # noqa: ANN401  what `discover` takes: a folder, files, globs, or a list of them
    target: str | Path,
    *,
    most: int = 100,
    per_page: int = 4,
    seed: int = 0,
    reader: ReaderSettings | None = None,
    password: Any = None,  # noqa: ANN401  as `DocumentReader`
    prompts: str | Path | None = None,
    writer: QuestionWriter | None = None,
    progress: Progress | None = None,
) -> QuestionReport:
    """Make questions about documents, and write them as a pack.

    Args:
        inputs: folder, files or globs.
        target: folder of the pack; without questions so far.
        most: largest number of questions.
        per_page: largest number that is made of a page, to choose from.
        seed: of all random draws.
        reader: how documents are read.
        password: for encrypted documents.
        prompts: folder with a ``templates.txt``.
        writer: a model asks in place of the templates.
        progress: called with finished documents, all documents, and the name of the next.

    Raises:
        FileExistsError: `target` has questions.
        ValueError: no document can be read, or none gives a question; a number is out of its range.
        ServerError: the writer's server failed; the same call resumes.
    """
    target = Path(target)
    for name in ("queries.jsonl", "questions.csv"):
        if (target / name).exists():
            raise FileExistsError(
                f"a pack must have no questions yet, got {target / name}. Name another folder."
            )
    if most < 1:
        raise ValueError(f"most must be at least 1, got {most}.")
    work = target / WORK_FOLDER
    settings = PairSettings(
        rules=("question",) if writer is None else ("asked",),
        per_page=per_page,
        alike=ALIKE,
        hold_out=0.0,
        texts=False,
        seed=seed,
    )
    pairs = work / "pairs.jsonl"
    report = make_pairs(
        inputs,
        pairs,
        settings=settings,
        reader=reader,
        password=password,
        prompts=prompts,
        writer=writer,
        progress=progress,
    )
    author = "template" if writer is None else f"model {writer.client.model_name()}"
    records = choose_records(list(read_mined(pairs)), most, seed)
    names = _add_documents(inputs, target, {where for where, _ in report.skipped})
    questions = [_line(number, record, names, author) for number, record in enumerate(records, 1)]
    with atomic_write(target / "queries.jsonl") as file:
        file.writelines(json.dumps(question, ensure_ascii=False) + "\n" for question in questions)
    return QuestionReport(target, len(names), questions, report)


def choose_records(records: Sequence[Mapping[str, Any]], most: int, seed: int) -> list[Mapping[str, Any]]:
    """Choose at most `most` records, in the order of files; documents take turns, and kinds in each."""
    by_document: dict[str, list[int]] = {}
    for number, record in enumerate(records):
        by_document.setdefault(record["positives"][0]["sha256"], []).append(number)
    turns = [_kinds_in_turn(records, numbers, f"{seed}:{sha}") for sha, numbers in by_document.items()]
    order = [number for turn in zip_longest(*turns) for number in turn if number is not None]
    return [records[number] for number in sorted(order[:most])]


def _kinds_in_turn(records: Sequence[Mapping[str, Any]], numbers: Iterable[int], seed: str) -> list[int]:
    rng, counts = random.Random(seed), Counter[str]()
    order: list[tuple[int, int]] = []
    shuffle = list(numbers)
    rng.shuffle(shuffle)
    for number in shuffle:
        kind = _kind(records[number]["query"])
        order.append((counts[kind], number))
        counts[kind] += 1
    return [number for _, number in sorted(order, key=lambda pair: pair[0])]  # stable: shuffled among equals


def _kind(query: Mapping[str, Any]) -> str:
    return str(query.get("kind") or query["rule"])


def _add_documents(inputs: Any, target: Path, unreadable: set[str]) -> dict[str, str]:  # noqa: ANN401
    """Put the readable documents into the pack; returns their names in it by digest."""
    from mmrag.documents import Skipped, discover

    folder = target / "documents"
    folder.mkdir(parents=True, exist_ok=True)
    names: dict[str, str] = {}
    for document in discover(inputs):
        if isinstance(document, Skipped) or document.source.sha256 in names:
            continue
        source = document.source
        if source.path is None or source.path in unreadable:
            continue
        name = _free_name(Path(source.path), folder, set(names.values()))
        _link(Path(source.path), folder / name)
        names[source.sha256] = name
    return names


def _free_name(path: Path, folder: Path, names: set[str]) -> str:
    """Return the file's name, with those of its folders before it where another file has it."""
    name, parents = path.name, list(path.parent.parts[1:])
    while name in names and parents:
        name = f"{parents.pop()} - {name}"
    if name in names:
        raise ValueError(f"documents of a pack must have different names, got {name!r} twice. Rename one.")
    return name


def _link(source: Path, target: Path) -> None:
    """Put a file under a further name, by a hard link where the disk allows one."""
    if target.exists() and target.samefile(source):
        return
    target.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _line(number: int, record: Mapping[str, Any], names: Mapping[str, str], author: str) -> dict[str, Any]:
    """Return a line of ``queries.jsonl``."""
    query = record["query"]
    pages = [*record["positives"], *record["removed"]]
    evidence = sorted({(names[page["sha256"]], page["page"]) for page in pages if page["sha256"] in names})
    answer = query.get("quote") or query.get("value")
    line: dict[str, Any] = {
        "id": f"made-{number:04}",
        "question": query["text"],
        "answerable": True,
        "evidence": [{"doc": name, "page": page} for name, page in evidence],
        "answers": [answer] if answer else [],
        "kind": _kind(query),
        "source": f"made by {author}",
        "written_by": author,
        "made": True,
    }
    boxes = query["boxes"] if query["rule"] == "asked" else query["boxes"][-1:] if answer else []
    if boxes:
        (page,) = record["positives"]
        page_data = {"doc": names[page["sha256"]], "page": page["page"]}
        line["value_boxes"] = [{**page_data, "bbox": box} for box in boxes]
    return line


def _sample_line(question: Mapping[str, Any]) -> str:
    first = question["evidence"][0]
    answer = f" -> {question['answers'][0]}" if question["answers"] else ""
    return f"{question['question']}{answer}  ({first['doc']}, page {first['page'] + 1})"
