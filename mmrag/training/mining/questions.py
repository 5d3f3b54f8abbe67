"""The input of mining: questions with the pages that are known to answer them.

One JSON object a line::

    {"id": "q1", "question": "When was it built?", "positives": [{"file": "bridge.pdf", "page": 3}]}

``query`` may stand for ``question``; ``image`` is the path of a picture that is asked with or about.
A positive is a record id (``"ab12...#p3"``) or a file and a page counted from 0, as in an evaluation pack.
Lines of the format of training data (`mmrag.training.mining.records`) are read, too: what they name as
removed is known to answer and is removed again, their negatives are not looked at.
Reading is strict and comes before any work: one bad line is one error that names it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmrag.index.base import Index


@dataclass(frozen=True, slots=True)
class MiningQuestion:
    """A question and its labelled records.

    Attributes:
        id: unique in the file.
        text: the words; ``""`` where only a picture is asked with.
        positives: record ids, at least one, each once.
        image: path of the question's picture, if it has one.
        known: records that answer it, too, and are no positives.
    """

    id: str
    text: str
    positives: tuple[str, ...]
    image: str | None = None
    known: tuple[str, ...] = ()


def read_questions(path: str | Path, index: Index) -> list[MiningQuestion]:
    """Read a file of questions and find their positives in an index.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line is not as the module says, its id stands twice, or a positive is not in the
            index; the message names the line. Or the file has no question at all.
    """
    path = Path(path)
    finder = _Finder(index)
    questions: list[MiningQuestion] = []
    lines: dict[str, int] = {}
    for number, line in _lines(path):
        where = f"{path}, line {number}"
        question = _question(_object(line, where), where, finder, path.parent)
        if question.id in lines:
            raise ValueError(
                f"{where}: 'id' must be used once, got {question.id!r} as in line {lines[question.id]}."
            )
        lines[question.id] = number
        questions.append(question)
    if not questions:
        raise ValueError(f"{path} must have at least one question, got none.")
    return questions


def _lines(path: Path) -> Iterable[tuple[int, str]]:
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path}, line {number}: must be UTF-8, got a byte that is not. Save it as UTF-8."
        ) from error
    # JSON strings may hold U+2028 as it is, at which `splitlines` would cut.
    return [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{where}: must be one JSON object, got bad JSON ({error}).") from error
    if not isinstance(value, dict):
        raise ValueError(f"{where}: must be one JSON object, got {type(value).__name__}.")
    return value


def _question(value: Mapping[str, Any], where: str, finder: _Finder, folder: Path) -> MiningQuestion:
    if "format" in value and isinstance(value.get("query"), Mapping):
        value = _of_pair(value, where)
    id = value.get("id")
    if not isinstance(id, str) or not id:
        raise ValueError(f"{where}: 'id' must be a string that is not empty, got {id!r}.")
    if "question" in value and "query" in value:
        raise ValueError(f"{where}: 'question' and 'query' must not stand together. Keep one.")
    text = value.get("question", value.get("query", ""))
    image = _image(value.get("image"), where, folder)
    if not isinstance(text, str) or not (text.strip() or image):
        raise ValueError(f"{where}: 'question' must be a string that is not empty, got {text!r}.")
    named = value.get("positives")
    if not isinstance(named, list) or not named:
        raise ValueError(
            f"{where}: 'positives' must be a list of at least one record id or {{file, page}}, got {named!r}."
        )
    positives = tuple(dict.fromkeys(finder.find(one, where) for one in named))
    return MiningQuestion(id, text, positives, image, finder.there(value.get("known", ())))


def _of_pair(value: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """A line of training data as a question."""
    ids: dict[str, list[Any]] = {}
    for name in ("positives", "removed"):
        items = value.get(name)
        if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
            raise ValueError(f"{where}: {name!r} must be a list of items with an 'id', got {items!r}.")
        ids[name] = [item.get("id") for item in items]
    query = value["query"]
    return {
        "id": query.get("id"),
        "question": query.get("text") or "",
        "image": query.get("image"),
        "positives": ids["positives"],
        "known": ids["removed"],
    }


def _image(value: object, where: str, folder: Path) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not (folder / value).is_file():
        raise ValueError(f"{where}: 'image' must be the path of a file, got {value!r}, which is not there.")
    return str((folder / value).resolve())


class _Finder:
    """Finds positives in an index: by record id, or by file and page."""

    def __init__(self, index: Index) -> None:
        self._ids = set(index.ids())
        self._files: dict[str, set[str]] = {}
        for entry in index.documents():
            for name in entry.names:
                for known_as in (name, Path(name).name):
                    self._files.setdefault(known_as, set()).add(entry.id)

    def there(self, ids: Iterable[object]) -> tuple[str, ...]:
        """Those that are in the index."""
        return tuple(id for id in dict.fromkeys(ids) if isinstance(id, str) and id in self._ids)

    def find(self, named: object, where: str) -> str:
        """The record id that is meant."""
        if isinstance(named, str):
            id = named
        elif isinstance(named, Mapping):
            id = self._page_id(named.get("file"), named.get("page"), where)
        else:
            raise ValueError(f"{where}: a positive must be a record id or {{file, page}}, got {named!r}.")
        if id not in self._ids:
            raise ValueError(
                f"{where}: a positive must be in the index, got {named!r}, which is not there. "
                "Add its file, or take the positive out."
            )
        return id

    def _page_id(self, file: object, page: object, where: str) -> str:
        if not isinstance(file, str) or type(page) is not int or page < 0:
            raise ValueError(
                f"{where}: a positive must have a 'file' and a 'page' counted from 0, "
                f"got file {file!r} and page {page!r}."
            )
        documents = self._files.get(file, set())
        if len(documents) > 1:
            raise ValueError(
                f"{where}: 'file' must fit one document, got {file!r}, which fits {len(documents)}. "
                "Give the whole path."
            )
        if not documents:
            raise ValueError(
                f"{where}: 'file' must be in the index, got {file!r}, which is not there. "
                "`mmrag status` lists its files."
            )
        return f"{next(iter(documents))}#p{page}"
