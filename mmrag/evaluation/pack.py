"""A pack: a folder of documents and the questions asked of them.

The format is described in ``docs/evaluation-pack.md``. Reading is strict: one bad line is one error that
names the file, the line and the field, and nothing is measured on a pack that is half understood.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

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
    """A pack that was read and found sound.

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


def load_pack(path: str | Path) -> Pack:
    """Read and check a pack.

    Raises:
        FileNotFoundError: the folder, ``documents/`` or ``queries.jsonl`` is missing.
        ValueError: a line of ``queries.jsonl`` breaks the format; the message names the line.
    """
    folder = Path(path)
    for place, kind in (
        (folder, "folder"),
        (folder / "documents", "folder"),
        (folder / "queries.jsonl", "file"),
    ):
        if not (place.is_dir() if kind == "folder" else place.is_file()):
            raise FileNotFoundError(
                f"a pack needs the {kind} {place}, which is not there. See docs/evaluation-pack.md."
            )
    documents = tuple(sorted(item.name for item in (folder / "documents").iterdir() if item.is_file()))
    file = folder / "queries.jsonl"
    questions: list[Question] = []
    lines: dict[str, int] = {}
    for number, line in enumerate(_lines(file), start=1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        question = _question(_object(line, where), where)
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


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        number = file.read_bytes()[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{file}, line {number}: must be UTF-8, got a byte that is not. Save it as UTF-8."
        ) from error


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: must be one JSON object, got bad JSON ({error}).") from error
    if not isinstance(value, dict):
        raise ValueError(f"{where}: must be one JSON object, got {type(value).__name__}.")
    return value


def _question(value: Mapping[str, Any], where: str) -> Question:
    evidence = _evidence(value, where)
    docs = sorted({doc for doc, _ in evidence})
    question = Question(
        id=_text(value, "id", where, required=True),
        question=_text(value, "question", where, required=True),
        docs=tuple(docs) if "evidence" in value and docs else (_text(value, "doc", where, required=True),),
        answerable=_flag(value, "answerable", where, required=True),
        evidence=evidence,
        answers=_texts(value, "answers", where),
        answer_format=_text(value, "answer_format", where),
        answer_items=_texts(value, "answer_items", where),
        evidence_types=_texts(value, "evidence_types", where),
        image_only_evidence=_flag(value, "image_only_evidence", where),
        source=_text(value, "source", where),
        written_by=_text(value, "written_by", where),
    )
    if question.answerable != bool(evidence):
        raise ValueError(
            f"{where}: evidence must be empty exactly where 'answerable' is false, got "
            f"{sorted(evidence)} with answerable {str(question.answerable).lower()}."
        )
    return question


def _text(value: Mapping[str, Any], name: str, where: str, *, required: bool = False) -> str:
    got = value.get(name, None if required else "")
    if not isinstance(got, str) or (required and not got.strip()):
        rule = "a string that is not empty" if required else "a string"
        raise ValueError(f"{where}: '{name}' must be {rule}, got {got!r}.")
    return got


def _flag(value: Mapping[str, Any], name: str, where: str, *, required: bool = False) -> bool:
    got = value.get(name, None if required else False)
    if not isinstance(got, bool):
        raise ValueError(f"{where}: '{name}' must be true or false, got {got!r}.")
    return got


def _texts(value: Mapping[str, Any], name: str, where: str) -> tuple[str, ...]:
    got = value.get(name, [])
    if not isinstance(got, list) or not all(isinstance(item, str) for item in got):
        raise ValueError(f"{where}: '{name}' must be a list of strings, got {got!r}.")
    return tuple(got)


def _evidence(value: Mapping[str, Any], where: str) -> frozenset[PageKey]:
    """From ``evidence_pages`` of ``doc``, or from ``evidence``, which may span several files."""
    if "evidence" not in value:
        pages = _pages(value.get("evidence_pages"), "'evidence_pages'", where)
        return frozenset((_text(value, "doc", where, required=True), page) for page in pages)
    if "evidence_pages" in value:
        raise ValueError(f"{where}: 'evidence' and 'evidence_pages' must not stand together. Keep one.")
    items = value["evidence"]
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ValueError(f"{where}: 'evidence' must be a list of objects with doc and page, got {items!r}.")
    by_doc: dict[str, list[object]] = {}
    for item in items:
        by_doc.setdefault(_text(item, "doc", where, required=True), []).append(item.get("page"))
    return frozenset(
        (doc, page)
        for doc, got in by_doc.items()
        for page in _pages(got, f"the pages of {doc!r} in 'evidence'", where)
    )


def _pages(got: object, name: str, where: str) -> list[int]:
    numbers = [page for page in got if type(page) is int and page >= 0] if isinstance(got, list) else []
    if not isinstance(got, list) or len(numbers) != len(got) or len(set(numbers)) != len(numbers):
        raise ValueError(
            f"{where}: {name} must be a list of different whole numbers counted from 0, got {got!r}."
        )
    return numbers
