"""The output of mining: one JSON object a query, which a trainer reads.

::

    {"format": 1,
     "recipe": "9c1b...",                        digest of all that decided; the file beside says what
     "query": {"id": "q1", "text": "When was it built?", "image": null, "labelled": ["3f2a...#p3"]},
     "positives": [ITEM, ...],                   labelled, best first; empty where the query was skipped
     "negatives": [ITEM, ...],                   hard negatives in the order to use them
     "removed": [{...ITEM, "reason": "judged relevant"}, ...],    likely false negatives
     "doubtful": [ITEM, ...],                    labelled, but the judge does not see why
     "skipped": ""}                              why the query is of no use, or ""

    ITEM = {"id": "3f2a...#p3", "kind": "page",  "page", "image" (a picture file) or "text"
            "file": "bridge.pdf", "path": "/data/bridge.pdf", "sha256": "3f2a...", "page": 3, "label": "4",
            "text": "...", "image": null,        path of a picture, where pictures were asked for
            "score": 0.97,                       the judge's, null without one: the soft label
            "rank": 1, "retrieval": 2.31,        null for a positive that the retrieval did not reach
            "scores": {"vectors": 0.83, "text": 11.2}}

``page`` counts from 0. A plain text has no file: its ``file``, ``path``, ``sha256``, ``page`` and ``label``
are null. ``scores`` are the retrieval channels' own.

A line is written in one piece when its query is done. What a kill leaves of a line is cut off by the next
run, which goes on with the next query.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmrag.types import Record

FORMAT = 1
LISTS = ("positives", "negatives", "removed", "doubtful")


def item_data(
    record: Record,
    *,
    score: float | None,
    rank: int | None = None,
    retrieval: float | None = None,
    scores: Mapping[str, float] | None = None,
    image: str | None = None,
    text: bool = True,
) -> dict[str, Any]:
    """An item of a line; see the module."""
    page = record.page
    kind = "text" if page is None else "image" if page.source.kind == "image" else "page"
    words = record.text if page is None else page.text
    return {
        "id": record.id,
        "kind": kind,
        "file": page.source.name if page else None,
        "path": page.source.path if page else None,
        "sha256": page.source.sha256 if page else None,
        "page": page.number if page else None,
        "label": page.label if page else None,
        "text": words if text else None,
        "image": image,
        "score": score,
        "rank": rank,
        "retrieval": retrieval,
        "scores": dict(scores or {}),
    }


def read_mined(path: str | Path) -> Iterator[dict[str, Any]]:
    """The lines of a finished file, checked.

    Raises:
        ValueError: a line is not as the module says; the message names it.
    """
    for number, line in enumerate(Path(path).read_bytes().split(b"\n"), 1):
        if line.strip():
            yield _checked(line, f"{path}, line {number}")


def _checked(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise ValueError(
            f"{where}: must be one JSON object, got bad JSON ({error}). "
            "If mining was cut off, run it again: it mends the file and goes on."
        ) from error
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        got = value.get("format") if isinstance(value, dict) else type(value).__name__
        raise ValueError(f"{where}: 'format' must be {FORMAT}, got {got!r}. This is no file of `mmrag mine`.")
    query = value.get("query")
    if not isinstance(query, dict) or not isinstance(query.get("id"), str):
        raise ValueError(f"{where}: 'query' must be an object with an 'id', got {query!r}.")
    for name in LISTS:
        items = value.get(name)
        if not isinstance(items, list) or not all(isinstance(item, dict) and "id" in item for item in items):
            raise ValueError(f"{where}: {name!r} must be a list of items with an 'id'.")
    return value


class LineFile:
    """The output under way: knows what is done, and appends whole lines.

    Args:
        path: the file; made where it is not there.

    Raises:
        ValueError: it holds something that no miner wrote.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: dict[str, dict[str, Any]] = {}
        if path.exists():
            whole = self._mend()
            for number, line in enumerate(whole.split(b"\n"), 1):
                if line.strip():
                    value = _checked(line, f"{path}, line {number}")
                    self.done[value["query"]["id"]] = value

    def _mend(self) -> bytes:
        """Cut off what follows the last line break: a line that a kill left unfinished."""
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            # Only our own torn line goes; a foreign file without a last line break is refused, not cut.
            if not data[len(whole) :].startswith(b'{"format"'):
                raise ValueError(
                    f"{self.path} must be a file of `mmrag mine` or not there, got one that ends with "
                    f"{data[len(whole) :][:40]!r}. Choose another name."
                )
            with self.path.open("r+b") as file:
                file.truncate(len(whole))
        return whole

    def append(self, line: Mapping[str, Any]) -> None:
        """Write a line in one piece, through to the disk."""
        data = (json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8", errors="backslashreplace")
        with self.path.open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self.done[line["query"]["id"]] = dict(line)
