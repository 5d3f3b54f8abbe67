"""A pack: a folder of documents and the questions asked of them.

The format is described in ``docs/evaluation-pack.md``. Reading is strict: one bad line is one error that
names the file, the line and the field, and nothing is measured on a pack that is half understood.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias, TypeGuard

from mmrag.blocks import Box
from mmrag.evaluation.boxes import PlacedBox
from mmrag.evaluation.csv_questions import NAME as TABLE_NAME
from mmrag.evaluation.csv_questions import read_csv_questions
from mmrag.files import read_json_lines

PageKey: TypeAlias = tuple[str, int]
"""File name in ``documents/`` and 0-based page: how a pack and a pipeline agree on a page."""

WHOLE = -1
"""In place of a page: the whole file answers the question, and the rank of its first page counts."""

HUMAN_WORDS = ("human", "search user")


@dataclass(frozen=True, slots=True)
class Question:
    """One line of ``queries.jsonl``; fields not listed here are passed over.

    Attributes:
        id: unique in the pack.
        question: the words.
        docs: file names in ``documents/`` that the question is about, at least one.
        answerable: False where the documents do not answer it; it then has no evidence.
        evidence: the pages that answer it, or the files, with `WHOLE` for a page; never both.
        grades: how relevant a piece of evidence is, from 1; 1 for those that are not named.
        answers: acceptable strings.
        answer_format: for example ``"Str"``, ``"Int"``, ``"List"``, ``"Free"``; ``""`` when unknown.
        answer_items: the items of a list.
        evidence_types: for example ``("Table",)``.
        image_only_evidence: no evidence page has a text layer.
        source: the benchmark it is from.
        written_by: who wrote the question.
        kind: of a drawn pack: ``"cell"``, ``"field"``, ``"computed"`` or ``"unanswerable"``; else ``""``.
        evidence_boxes: around the evidence, a paragraph, row, table or figure each; empty if nobody drew any.
        is_made: by a template or a model; then it is not human-written, whatever `written_by` says.
        value_boxes: around the answer itself, or the values that it is computed from.
    """

    id: str
    question: str
    docs: tuple[str, ...]
    answerable: bool
    evidence: frozenset[PageKey] = frozenset()
    answers: tuple[str, ...] = ()
    answer_format: str = ""
    answer_items: tuple[str, ...] = ()
    evidence_types: tuple[str, ...] = ()
    image_only_evidence: bool = False
    source: str = ""
    written_by: str = ""
    kind: str = ""
    evidence_boxes: tuple[PlacedBox, ...] = ()
    value_boxes: tuple[PlacedBox, ...] = ()
    grades: tuple[tuple[PageKey, int], ...] = ()
    is_made: bool = False

    @property
    def relevant(self) -> dict[PageKey, int]:
        """The evidence and the grade of each, for rank metrics."""
        return {**dict.fromkeys(self.evidence, 1), **dict(self.grades)}

    @property
    def by_document(self) -> bool:
        """Whether whole files are the evidence."""
        return any(page == WHOLE for _, page in self.evidence)

    def key(self, page: PageKey) -> PageKey:
        """Return a page as the evidence names it: itself, or its file."""
        return (page[0], WHOLE) if self.by_document else page

    @property
    def human_written(self) -> bool:
        """Whether `written_by` contains "human" or "search user", in any case.

        Questions that people typed into a search engine count as human-written, also where annotators
        chose the page afterwards.
        """
        author = self.written_by.lower()
        return not self.is_made and any(word in author for word in HUMAN_WORDS)


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack, read and checked.

    Attributes:
        path: its folder.
        documents: file names in ``documents/``, sorted.
        questions: in the order of the file.
        is_flat: the documents lie in the folder itself, beside ``questions.csv``.
    """

    path: Path
    documents: tuple[str, ...]
    questions: tuple[Question, ...] = field(repr=False)
    is_flat: bool = False

    @property
    def documents_path(self) -> Path:
        """The folder of the documents."""
        return self.path if self.is_flat else self.path / "documents"

    @property
    def inputs(self) -> Path | list[Path]:
        """What to index: the folder, or its files where others lie beside them."""
        return [self.path / name for name in self.documents] if self.is_flat else self.documents_path


def question_digest(question: Question) -> str:
    """Return a digest of a question's words and evidence, 8 hexadecimal digits: whether two are the same."""
    text = json.dumps([question.question, sorted(question.relevant.items())], ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()[:8]


def select_questions(pack: Pack, ids: Sequence[str]) -> Pack:
    """Return the pack with the questions of these ids, in the pack's order; its documents stay.

    Raises:
        ValueError: an id that the pack lacks, or none at all.
    """
    absent = sorted(set(ids) - {question.id for question in pack.questions})
    if absent or not ids:
        raise ValueError(
            f"ids of questions must be in {pack.path}, got {', '.join(map(repr, absent[:5])) or 'none'}. "
            "Write one id a line."
        )
    selection = set(ids)
    return replace(pack, questions=tuple(question for question in pack.questions if question.id in selection))


def load_pack(path: str | Path) -> Pack:
    """Read and check a pack.

    Its questions are in ``queries.jsonl``, or in ``questions.csv`` (`mmrag.evaluation.csv_questions`); with
    the latter its documents may lie in the folder itself.

    Raises:
        FileNotFoundError: the folder, ``documents/`` or the file of questions is missing.
        ValueError: a line of the questions breaks the format; the message names the line.
    """
    folder = Path(path)
    file, is_flat = _find_files(folder)
    documents = tuple(
        sorted(
            item.name
            for item in (folder if is_flat else folder / "documents").iterdir()
            if item.is_file() and not (is_flat and (item == file or item.name.startswith((".", "~$"))))
        )
    )
    is_table = file.name == TABLE_NAME
    rows = read_csv_questions(file, documents) if is_table else read_json_lines(file, "question")
    names = frozenset(documents)
    questions: list[Question] = []
    lines: dict[str, int] = {}
    for number, value in rows:
        where = f"{file}, line {number}"
        question = _question(value, where)
        for doc in question.docs:
            if doc not in names:
                raise ValueError(f"{where}: 'doc' must be a file in documents/, got {doc!r}.")
        if question.id in lines:
            raise ValueError(
                f"{where}: 'id' must be used once, got {question.id!r} as in line {lines[question.id]}."
            )
        lines[question.id] = number
        questions.append(question)
    if not questions:
        raise ValueError(f"{file} must have at least one question, got none.")
    return Pack(folder, documents, tuple(questions), is_flat)


def _find_files(folder: Path) -> tuple[Path, bool]:
    """Return the file of questions, and whether the documents lie beside it.

    Raises:
        FileNotFoundError: something is missing.
        ValueError: there are two files of questions.
    """
    lines, table = folder / "queries.jsonl", folder / TABLE_NAME
    if lines.is_file() and table.is_file():
        raise ValueError(
            f"{folder} must have one file of questions, got {lines.name} and {table.name}. Keep one."
        )
    is_flat = table.is_file() and not (folder / "documents").is_dir()
    for name, exists in (
        (f"the folder {folder}", folder.is_dir()),
        (f"the folder {folder / 'documents'}", is_flat or (folder / "documents").is_dir()),
        (f"the file {lines} or {table.name}", lines.is_file() or table.is_file()),
    ):
        if not exists:
            raise FileNotFoundError(f"a pack needs {name}, which is not there. See docs/evaluation-pack.md.")
    return table if table.is_file() else lines, is_flat


def _question(value: Mapping[str, Any], where: str) -> Question:
    grades = _grades(value, where)
    evidence = frozenset(grades)
    # a thousand pages of a long document, for each question about it: one string each
    docs = tuple(map(sys.intern, _texts(value, "docs", where)))
    if not docs and "evidence" in value:
        docs = tuple(sorted({doc for doc, _ in evidence}))
    docs = docs or (_text(value, "doc", where, is_required=True),)
    question = Question(
        id=_text(value, "id", where, is_required=True),
        question=_text(value, "question", where, is_required=True),
        docs=docs,
        answerable=_flag(value, "answerable", where, is_required=True),
        evidence=evidence,
        answers=_texts(value, "answers", where),
        answer_format=_text(value, "answer_format", where),
        answer_items=_texts(value, "answer_items", where),
        evidence_types=_texts(value, "evidence_types", where),
        image_only_evidence=_flag(value, "image_only_evidence", where),
        source=_text(value, "source", where),
        written_by=_text(value, "written_by", where),
        is_made=_flag(value, "made", where),
        kind=_text(value, "kind", where),
        evidence_boxes=_boxes(value, "evidence_boxes", where),
        value_boxes=_boxes(value, "value_boxes", where),
        grades=tuple(sorted((key, grade) for key, grade in grades.items() if grade != 1)),
    )
    if question.answerable != bool(evidence):
        raise ValueError(
            f"{where}: evidence must be empty exactly where 'answerable' is false, got "
            f"{sorted(evidence)} with answerable {str(question.answerable).lower()}."
        )
    return question


def _text(value: Mapping[str, Any], name: str, where: str, *, is_required: bool = False) -> str:
    content = value.get(name, None if is_required else "")
    if not isinstance(content, str) or (is_required and not content.strip()):
        rule = "a string that is not empty" if is_required else "a string"
        raise ValueError(f"{where}: '{name}' must be {rule}, got {content!r}.")
    return content


def _flag(value: Mapping[str, Any], name: str, where: str, *, is_required: bool = False) -> bool:
    content = value.get(name, None if is_required else False)
    if not isinstance(content, bool):
        raise ValueError(f"{where}: '{name}' must be true or false, got {content!r}.")
    return content


def _texts(value: Mapping[str, Any], name: str, where: str) -> tuple[str, ...]:
    content = value.get(name, [])
    if not isinstance(content, list) or not all(isinstance(item, str) for item in content):
        raise ValueError(f"{where}: '{name}' must be a list of strings, got {content!r}.")
    return tuple(content)


def _grades(value: Mapping[str, Any], where: str) -> dict[PageKey, int]:
    """Read evidence from ``evidence_pages`` of ``doc``, or from ``evidence``, which may span files."""
    if "evidence" not in value:
        numbers = _pages(value.get("evidence_pages"), "'evidence_pages'", where)
        return {(_text(value, "doc", where, is_required=True), page): 1 for page in numbers}
    if "evidence_pages" in value:
        raise ValueError(f"{where}: 'evidence' and 'evidence_pages' must not occur together. Keep one.")
    items = value["evidence"]
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ValueError(f"{where}: 'evidence' must be a list of objects with doc and page, got {items!r}.")
    by_doc: dict[str, list[object]] = {}
    grades: dict[PageKey, int] = {}
    for item in items:
        doc = _text(item, "doc", where, is_required=True)
        page = item.get("page", WHOLE)
        by_doc.setdefault(doc, []).append(page)
        if isinstance(page, int):  # else the check of all pages below says so
            grades[doc, page] = _grade(item, where)
    whole = [pages == [WHOLE] and all("page" not in item for item in items) for pages in by_doc.values()]
    if any(whole) and all(whole):
        return grades
    for doc, pages in by_doc.items():
        _pages(pages, f"the pages of {doc!r} in 'evidence'", where)
    return grades


def _grade(item: Mapping[str, Any], where: str) -> int:
    grade = item.get("grade", 1)
    if type(grade) is not int or grade < 1:
        raise ValueError(f"{where}: 'grade' in 'evidence' must be a whole number from 1, got {grade!r}.")
    return grade


def _pages(content: object, name: str, where: str) -> list[int]:
    numbers = (
        [page for page in content if type(page) is int and page >= 0] if isinstance(content, list) else []
    )
    if not isinstance(content, list) or len(numbers) != len(content) or len(set(numbers)) != len(numbers):
        raise ValueError(
            f"{where}: {name} must be a list of different whole numbers counted from 0, got {content!r}."
        )
    return numbers


def _boxes(value: Mapping[str, Any], name: str, where: str) -> tuple[PlacedBox, ...]:
    """Read boxes of pages as shares of the page."""
    content = value.get(name, [])
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise ValueError(f"{where}: '{name}' must be a list of objects with page and bbox, got {content!r}.")
    boxes = []
    for item in content:
        doc = _text(item if "doc" in item else value, "doc", where, is_required=True)
        (page,) = _pages([item.get("page")], f"the page in '{name}'", where)
        boxes.append(PlacedBox(doc, page, _relative_box(item, name, where)))
    return tuple(boxes)


def _relative_box(item: Mapping[str, Any], name: str, where: str) -> Box:
    box, size = item.get("bbox"), item.get("page_size", [1, 1])
    if not (_is_numbers(box, 4) and _is_numbers(size, 2) and min(size) > 0):
        raise ValueError(
            f"{where}: '{name}' must have bbox [x0, y0, x1, y1], and page_size [width, height] unless it is "
            f"in 0..1, got {item!r}."
        )
    x0, y0, x1, y1 = (
        min(1.0, max(0.0, edge / length)) for edge, length in zip(box, (*size, *size), strict=True)
    )
    if x0 >= x1 or y0 >= y1:
        raise ValueError(f"{where}: a box in '{name}' must have an area on its page, got {item!r}.")
    return x0, y0, x1, y1


def _is_numbers(content: object, count: int) -> TypeGuard[list[float]]:
    return (
        isinstance(content, list)
        and len(content) == count
        and all(isinstance(number, int | float) and not isinstance(number, bool) for number in content)
    )
