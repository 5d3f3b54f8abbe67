"""A pack: a folder of documents and the questions asked of them.

The format is described in ``docs/evaluation-pack.md``. Reading is strict: one bad line is one error that
names the file, the line and the field, and nothing is measured on a pack that is half understood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias, TypeGuard

from mmrag.blocks import Box
from mmrag.evaluation.boxes import PlacedBox
from mmrag.files import read_json_lines

PageKey: TypeAlias = tuple[str, int]
"""File name in ``documents/`` and 0-based page: how a pack and a pipeline agree on a page."""

HUMAN_WORDS = ("human", "search user")


@dataclass(frozen=True, slots=True)
class Question:
    """One line of ``queries.jsonl``; fields not listed here are passed over.

    Attributes:
        id: unique in the pack.
        question: the words.
        docs: file names in ``documents/`` that the question is about, at least one.
        answerable: False where the documents do not answer it; it then has no evidence.
        evidence: the pages that answer it.
        answers: acceptable strings.
        answer_format: for example ``"Str"``, ``"Int"``, ``"List"``, ``"Free"``; ``""`` when unknown.
        answer_items: the items of a list.
        evidence_types: for example ``("Table",)``.
        image_only_evidence: no evidence page has a text layer.
        source: the benchmark it is from.
        written_by: who wrote the question.
        kind: of a drawn pack: ``"cell"``, ``"field"``, ``"computed"`` or ``"unanswerable"``; else ``""``.
        evidence_boxes: around the evidence, a paragraph, row, table or figure each; empty if nobody drew any.
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

    @property
    def human_written(self) -> bool:
        """Whether `written_by` contains "human" or "search user", in any case.

        Questions that people typed into a search engine count as human-written, also where annotators
        chose the page afterwards.
        """
        author = self.written_by.lower()
        return any(word in author for word in HUMAN_WORDS)


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack, read and checked.

    Attributes:
        path: its folder.
        documents: file names in ``documents/``, sorted.
        questions: in the order of the file.
    """

    path: Path
    documents: tuple[str, ...]
    questions: tuple[Question, ...] = field(repr=False)

    @property
    def documents_path(self) -> Path:
        """The folder to index."""
        return self.path / "documents"


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

    Raises:
        FileNotFoundError: the folder, ``documents/`` or ``queries.jsonl`` is missing.
        ValueError: a line of ``queries.jsonl`` breaks the format; the message names the line.
    """
    folder = Path(path)
    _check_files(folder)
    documents = tuple(sorted(item.name for item in (folder / "documents").iterdir() if item.is_file()))
    file = folder / "queries.jsonl"
    questions: list[Question] = []
    lines: dict[str, int] = {}
    for number, value in read_json_lines(file, "question"):
        where = f"{file}, line {number}"
        question = _question(value, where)
        for doc in question.docs:
            if doc not in documents:
                raise ValueError(f"{where}: 'doc' must be a file in documents/, got {doc!r}.")
        if question.id in lines:
            raise ValueError(
                f"{where}: 'id' must be used once, got {question.id!r} as in line {lines[question.id]}."
            )
        lines[question.id] = number
        questions.append(question)
    if not questions:
        raise ValueError(f"{file} must have at least one question, got none.")
    return Pack(folder, documents, tuple(questions))


def _check_files(folder: Path) -> None:
    for path, kind in (
        (folder, "folder"),
        (folder / "documents", "folder"),
        (folder / "queries.jsonl", "file"),
    ):
        if not (path.is_dir() if kind == "folder" else path.is_file()):
            raise FileNotFoundError(
                f"a pack needs the {kind} {path}, which is not there. See docs/evaluation-pack.md."
            )


def _question(value: Mapping[str, Any], where: str) -> Question:
    evidence = _evidence(value, where)
    docs = sorted({doc for doc, _ in evidence})
    question = Question(
        id=_text(value, "id", where, is_required=True),
        question=_text(value, "question", where, is_required=True),
        docs=tuple(docs) if "evidence" in value and docs else (_text(value, "doc", where, is_required=True),),
        answerable=_flag(value, "answerable", where, is_required=True),
        evidence=evidence,
        answers=_texts(value, "answers", where),
        answer_format=_text(value, "answer_format", where),
        answer_items=_texts(value, "answer_items", where),
        evidence_types=_texts(value, "evidence_types", where),
        image_only_evidence=_flag(value, "image_only_evidence", where),
        source=_text(value, "source", where),
        written_by=_text(value, "written_by", where),
        kind=_text(value, "kind", where),
        evidence_boxes=_boxes(value, "evidence_boxes", where),
        value_boxes=_boxes(value, "value_boxes", where),
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


def _evidence(value: Mapping[str, Any], where: str) -> frozenset[PageKey]:
    """Read evidence from ``evidence_pages`` of ``doc``, or from ``evidence``, which may span files."""
    if "evidence" not in value:
        pages = _pages(value.get("evidence_pages"), "'evidence_pages'", where)
        return frozenset((_text(value, "doc", where, is_required=True), page) for page in pages)
    if "evidence_pages" in value:
        raise ValueError(f"{where}: 'evidence' and 'evidence_pages' must not occur together. Keep one.")
    items = value["evidence"]
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ValueError(f"{where}: 'evidence' must be a list of objects with doc and page, got {items!r}.")
    by_doc: dict[str, list[object]] = {}
    for item in items:
        by_doc.setdefault(_text(item, "doc", where, is_required=True), []).append(item.get("page"))
    return frozenset(
        (doc, page)
        for doc, content in by_doc.items()
        for page in _pages(content, f"the pages of {doc!r} in 'evidence'", where)
    )


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
