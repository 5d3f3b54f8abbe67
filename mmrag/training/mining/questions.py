"""The input of mining: questions with the pages that are known to answer them.

One JSON object per line::

    {"id": "q1", "question": "When was it built?", "positives": [{"file": "bridge.pdf", "page": 3}]}

``query`` may replace ``question``; ``image`` is the path of the question's picture, if it has one.
A positive is a record id (``"ab12...#p3"``) or a file and a page counted from 0, as in an evaluation pack.
Training data (`mmrag.training.mining.records`) is read as well: its removed items are known to answer and are
removed again, its negatives are ignored.
Reading is strict and comes before any work: one bad line is one error that names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmrag.files import read_json_lines
from mmrag.index.base import Index


@dataclass(frozen=True, slots=True)
class MiningQuestion:
    """A question and its labelled records.

    Attributes:
        id: unique in the file.
        text: the words; ``""`` for a question that is only a picture.
        positives: record ids, at least one, each once.
        image: path of the question's picture, if it has one.
        known_ids: records that answer it as well, but are no positives.
    """

    id: str
    text: str
    positives: tuple[str, ...]
    image: str | None = None
    known_ids: tuple[str, ...] = ()


def read_questions(path: str | Path, index: Index) -> list[MiningQuestion]:
    """Read a file of questions and find their positives in an index.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: a line is not as the module says, its id is used twice, or a positive is not in the
            index; the message names the line. Or the file has no question at all.
    """
    path = Path(path)
    finder = _Finder(index)
    questions: list[MiningQuestion] = []
    line_of: dict[str, int] = {}
    for number, value in read_json_lines(path, "question"):
        position = f"{path}, line {number}"
        question = _question(value, position, finder, path.parent)
        if question.id in line_of:
            raise ValueError(
                f"{position}: 'id' must be used once, got {question.id!r} as in line {line_of[question.id]}."
            )
        line_of[question.id] = number
        questions.append(question)
    if not questions:
        raise ValueError(f"{path} must have at least one question, got none.")
    return questions


def _question(value: Mapping[str, Any], position: str, finder: _Finder, folder: Path) -> MiningQuestion:
    if "format" in value and isinstance(value.get("query"), Mapping):
        value = _question_of_record(value, position)
    id = value.get("id")
    if not isinstance(id, str) or not id:
        raise ValueError(f"{position}: 'id' must be a string that is not empty, got {id!r}.")
    if "question" in value and "query" in value:
        raise ValueError(f"{position}: 'question' and 'query' must not stand together. Keep one.")
    text = value.get("question", value.get("query", ""))
    image = _image(value.get("image"), position, folder)
    if not isinstance(text, str) or not (text.strip() or image):
        raise ValueError(f"{position}: 'question' must be a string that is not empty, got {text!r}.")
    labels = value.get("positives")
    if not isinstance(labels, list) or not labels:
        raise ValueError(
            f"{position}: 'positives' must be a list of at least one record id or {{file, page}}, "
            f"got {labels!r}."
        )
    positives = tuple(dict.fromkeys(finder.find(label, position) for label in labels))
    return MiningQuestion(id, text, positives, image, finder.indexed_ids(value.get("known", ())))


def _question_of_record(value: Mapping[str, Any], position: str) -> Mapping[str, Any]:
    """Return a record of training data in the form of a question."""
    ids: dict[str, list[Any]] = {}
    for name in ("positives", "removed"):
        items = value.get(name)
        if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
            raise ValueError(f"{position}: {name!r} must be a list of items with an 'id', got {items!r}.")
        ids[name] = [item.get("id") for item in items]
    query = value["query"]
    return {
        "id": query.get("id"),
        "question": query.get("text") or "",
        "image": query.get("image"),
        "positives": ids["positives"],
        "known": ids["removed"],
    }


def _image(value: object, position: str, folder: Path) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not (folder / value).is_file():
        raise ValueError(f"{position}: 'image' must be the path of an existing file, got {value!r}.")
    return str((folder / value).resolve())


class _Finder:
    """Finds positives in an index: by record id, or by file and page."""

    def __init__(self, index: Index) -> None:
        self._ids = set(index.ids())
        self._files: dict[str, set[str]] = {}
        for entry in index.documents():
            for path in entry.names:
                for name in (path, Path(path).name):
                    self._files.setdefault(name, set()).add(entry.id)

    def indexed_ids(self, ids: Iterable[object]) -> tuple[str, ...]:
        """Return those ids that are in the index, each once."""
        return tuple(id for id in dict.fromkeys(ids) if isinstance(id, str) and id in self._ids)

    def find(self, label: object, position: str) -> str:
        """Return the record id that a label means.

        Raises:
            ValueError: it is no label, or its record is not in the index.
        """
        if isinstance(label, str):
            id = label
        elif isinstance(label, Mapping):
            id = self._page_id(label.get("file"), label.get("page"), position)
        else:
            raise ValueError(f"{position}: a positive must be a record id or {{file, page}}, got {label!r}.")
        if id not in self._ids:
            raise ValueError(
                f"{position}: a positive must be in the index, got {label!r}. "
                "Add its file, or take the positive out."
            )
        return id

    def _page_id(self, file: object, page: object, position: str) -> str:
        if not isinstance(file, str) or type(page) is not int or page < 0:
            raise ValueError(
                f"{position}: a positive must have a 'file' and a 'page' counted from 0, "
                f"got file {file!r} and page {page!r}."
            )
        documents = self._files.get(file, set())
        if len(documents) > 1:
            raise ValueError(
                f"{position}: 'file' must fit one document, got {file!r}, which fits {len(documents)}. "
                "Give the whole path."
            )
        if not documents:
            raise ValueError(
                f"{position}: 'file' must be in the index, got {file!r}. `mmrag status` lists its files."
            )
        return f"{next(iter(documents))}#p{page}"
