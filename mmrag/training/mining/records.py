"""Mined records: one JSON object per query, in a file of JSON Lines that a trainer reads.

::

    {"format": 1,
     "recipe": "9c1b...",                        digest of all settings; the file NAME.meta.json has them
     "query": {"id": "q1", "text": "When was it built?", "image": null, "labelled": ["3f2a...#p3"]},
     "positives": [ITEM, ...],                   labelled, best first; empty if the query was skipped
     "negatives": [ITEM, ...],                   hard negatives in the order to use them
     "removed": [{...ITEM, "reason": "judged relevant"}, ...],    likely false negatives
     "doubtful": [ITEM, ...],                    labelled, but with a low score of the judge
     "skipped": ""}                              why the query is of no use, or ""

    ITEM = {"id": "3f2a...#p3", "kind": "page",  "page", "image" (a picture file) or "text"
            "file": "bridge.pdf", "path": "/data/bridge.pdf", "sha256": "3f2a...", "page": 3, "label": "4",
            "text": "...", "image": null,        path of a picture, if pictures were requested
            "score": 0.97,                       the judge's, null without one: the soft label
            "rank": 1, "retrieval": 2.31,        null for a positive that the retrieval did not reach
            "scores": {"vectors": 0.83, "text": 11.2}}

``page`` counts from 0. A plain text has no file: its ``file``, ``path``, ``sha256``, ``page`` and ``label``
are null. ``scores`` are the retrieval channels' own.

A record is appended in one write when its query is done. If a process is killed while it writes, the next
run cuts off the torn record and mines its query again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmrag.files import read_json_lines
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
    """Return an item of a mined record; see the module."""
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
    """Yield the records of a finished file.

    Raises:
        ValueError: a line is not a mined record; the message names it.
    """
    for number, value in read_json_lines(path, "mined record"):
        _check(value, f"{path}, line {number}")
        yield value


def _check(value: Mapping[str, Any], position: str) -> None:
    if value.get("format") != FORMAT:
        raise ValueError(
            f"{position}: 'format' must be {FORMAT}, got {value.get('format')!r}. "
            "This is no file of `mmrag mine`."
        )
    query = value.get("query")
    if not isinstance(query, dict) or not isinstance(query.get("id"), str):
        raise ValueError(f"{position}: 'query' must be an object with an 'id', got {query!r}.")
    for name in LISTS:
        items = value.get(name)
        if not isinstance(items, list) or not all(isinstance(item, dict) and "id" in item for item in items):
            raise ValueError(f"{position}: {name!r} must be a list of items with an 'id'.")


def encode_record(record: Mapping[str, Any]) -> bytes:
    """Return a record as a line of JSON in UTF-8; lone surrogates are escaped."""
    return (json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8", errors="backslashreplace")


class RecordFile:
    """The output of a miner at work: reads the records that are there, and appends whole ones.

    Args:
        path: the file; need not exist.

    Attributes:
        records: by id of the query.

    Raises:
        ValueError: it holds something that no miner wrote.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: dict[str, dict[str, Any]] = {}
        if path.exists():
            self._cut_torn_record()
            self.records = {record["query"]["id"]: record for record in read_mined(path)}

    def _cut_torn_record(self) -> None:
        """Truncate the file after its last line break, if a miner wrote what follows."""
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole == len(data):
            return
        # A foreign file without a last line break is refused, not cut.
        if not data[whole:].startswith(b'{"format"'):
            raise ValueError(
                f"{self.path} must be a file of `mmrag mine` or not exist, got one that ends with "
                f"{data[whole:][:40]!r}. Choose another name."
            )
        with self.path.open("r+b") as file:
            file.truncate(whole)

    def append(self, record: Mapping[str, Any]) -> None:
        """Append a record in one write, flushed to the disk."""
        with self.path.open("ab") as file:
            file.write(encode_record(record))
            file.flush()
            os.fsync(file.fileno())
        self.records[record["query"]["id"]] = dict(record)
