"""What belongs to an index and is no page: its manifest, the documents, bytes without a path.

They are points without vectors in a collection of their own, ``NAME-files``. Bytes are cut into parts of
`PART_BYTES`, each a point, since a server takes requests of 32 MB; the part 0 is written last and says how
many there are, so that bytes are there whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from threading import Lock
from typing import Any

from mmrag.errors import IndexFormatError
from mmrag.index import codec
from mmrag.index.base import FORMAT_VERSION, DocumentEntry, Manifest
from mmrag.index.checksums import sum_of
from mmrag.index.qdrant.collection import (
    Collection,
    Point,
    StoredPoint,
    all_of,
    scroll_all,
    value_among,
    value_is,
)
from mmrag.index.qdrant.points import as_bytes, as_text, point_id
from mmrag.index.qdrant.settings import NumberType
from mmrag.index.record_codec import decode_entry, decode_manifest
from mmrag.index.stored import damage_error, decode_guard

PART_BYTES = 4 << 20
_FIELDS = (
    "kind",
    "key",
    "data",
    "sum",
    "order",
    "part",
    "parts",
    "whole",
    "pivot",
    "version",
    "vectors",
    "quantization_factor",
)

LAYOUT_VERSION = 1
"""Of what points hold; an index of a newer one is refused."""

INDEXED_FIELDS = ("kind", "key", "document")


@dataclass(frozen=True, slots=True)
class Identity:
    """What an index says of itself.

    Attributes:
        manifest: of the index.
        pivot: average length of a text that the stored weights of terms were made with, in terms.
        vectors: type of the numbers of the vectors that find.
        quantization_factor: how many times more is ranked anew than is handed on; None: nothing is quantized.
    """

    manifest: Manifest
    pivot: float
    vectors: NumberType = "float16"
    quantization_factor: float | None = None


class OrderClock:
    """Numbers that grow: nanoseconds of the clock, and at least one more than the last.

    Records stand in the order of these numbers. Of writers on machines whose clocks differ, they stand as the
    clocks say.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._last = 0

    def take(self, count: int) -> int:
        """Return the first of `count` numbers in a row."""
        with self._lock:
            first = max(self._last + 1, time.time_ns() // 1000)
            self._last = first + count - 1
            return first


class FilePoints:
    """The manifest, documents and bytes of an index.

    Args:
        collection: where they are.
        clock: gives new documents their place.
    """

    def __init__(self, collection: Collection, clock: OrderClock) -> None:
        self.collection = collection
        self._clock = clock

    # -- the manifest -------------------------------------------------------------------------

    def identity(self) -> Identity | None:
        """Read the manifest; None where none was written.

        Raises:
            IndexFormatError: it is of a newer layout or format.
            IndexDamagedError: it is none.
        """
        points = self.collection.retrieve([point_id("manifest", "state")], _FIELDS)
        if not points:
            return None
        payload = points[0].payload
        if payload.get("version") != LAYOUT_VERSION:
            raise IndexFormatError(
                f"the index must be of Qdrant layout {LAYOUT_VERSION}, got {payload.get('version')!r}. "
                "Upgrade the package, or index the documents again into a new collection."
            )
        data = _summed_bytes(points[0], "state", "manifest")
        with decode_guard("state", "manifest"):
            values = dict(json.loads(data))
            if values.get("format_version") != FORMAT_VERSION:
                raise ValueError(f"format {values.get('format_version')!r}")
            factor = payload.get("quantization_factor")
            return Identity(
                decode_manifest(values),
                float(payload["pivot"]),
                "float32" if payload.get("vectors") == "float32" else "float16",
                None if factor is None else float(factor),
            )

    def put_identity(self, identity: Identity) -> Identity:
        """Write the manifest if there is none; return the one that is there then."""
        text = json.dumps(asdict(identity.manifest))
        payload = {"kind": "manifest", "data": text, "sum": sum_of([text.encode()])}
        payload |= {"pivot": identity.pivot, "version": LAYOUT_VERSION, "vectors": identity.vectors}
        payload |= {"quantization_factor": identity.quantization_factor}
        self.collection.upsert([Point(point_id("manifest", "state"), payload)], only_new=True)
        new_identity = self.identity()
        if new_identity is None:
            raise damage_error("state", "manifest", "nothing, a moment after it was written")
        return new_identity

    # -- documents ------------------------------------------------------------------------------

    def documents(self) -> list[DocumentEntry]:
        """List the documents in the order they were added."""
        return [decode_document(point) for point in self.document_points()]

    def document_points(self) -> list[StoredPoint]:
        """Read the points of the documents, in order."""
        points = scroll_all(self.collection, all_of(value_is("kind", "document")), _FIELDS)
        return sorted(points, key=lambda point: (point.payload.get("order", 0), point.id))

    def put_document(self, entry: DocumentEntry) -> None:
        """Add or replace an entry; its place stays."""
        id = point_id(entry.id, "document")
        old_points = self.collection.retrieve([id], ["order"])
        order = old_points[0].payload["order"] if old_points else self._clock.take(1)
        text = codec.encode_entry(entry)
        payload = {"kind": "document", "key": entry.id, "order": order}
        payload |= {"data": text, "sum": sum_of([text.encode()])}
        self.collection.upsert([Point(id, payload)])

    def remove_document(self, document_id: str) -> None:
        """Remove an entry and the bytes that go with it; a document's id is the start of its digest."""
        self.collection.delete([point_id(document_id, "document")])
        self.collection.delete_where(all_of(value_is("document", document_id), value_is("kind", "blob")))

    # -- bytes ----------------------------------------------------------------------------------

    def put_blob(self, key: str, data: bytes) -> None:
        """Keep bytes."""
        parts = [data[start : start + PART_BYTES] for start in range(0, len(data), PART_BYTES)] or [b""]
        payload: dict[str, Any] = {"kind": "blob", "key": key}
        if len(key) == 64:
            payload["document"] = key[:16]
        payload["whole"] = hashlib.sha256(data).hexdigest()
        # part 0 says how many there are: it comes last
        for number, part in reversed(list(enumerate(parts))):
            fields = {"part": number, "parts": len(parts), "data": as_text(part), "sum": sum_of([part])}
            self.collection.upsert([Point(_part_id(key, number), payload | fields)])
        after = {"key": "part", "range": {"gte": len(parts)}}
        self.collection.delete_where(all_of(value_is("kind", "blob"), value_is("key", key), after))

    def get_blob(self, key: str) -> bytes | None:
        """Return the bytes, or None.

        Raises:
            IndexDamagedError: a part is missing or damaged.
        """
        head = self.collection.retrieve([_part_id(key, 0)], _FIELDS)
        if not head:
            return None
        with decode_guard("blob", key):
            count, whole = int(head[0].payload["parts"]), str(head[0].payload["whole"])
        data = [_part(head[0], key, 0, whole)]
        for number in range(1, count):
            rest = self.collection.retrieve([_part_id(key, number)], _FIELDS)
            if not rest:
                raise damage_error("blob", key, f"no part {number} of {count}")
            data.append(_part(rest[0], key, number, whole))
        return b"".join(data)

    def blob_keys(self) -> list[str]:
        """List the keys of all bytes."""
        points = scroll_all(self.collection, all_of(value_is("kind", "blob")), ["key"])
        return sorted({str(point.payload.get("key")) for point in points})

    def delete_blobs(self, keys: Sequence[str]) -> None:
        """Delete bytes; keys that are not there are passed over."""
        if keys:
            self.collection.delete_where(all_of(value_is("kind", "blob"), value_among("key", list(keys))))


def decode_document(point: StoredPoint) -> DocumentEntry:
    """Decode the point of a document.

    Raises:
        IndexDamagedError: it is none.
    """
    key = str(point.payload.get("key"))
    data = _summed_bytes(point, "document", key)
    with decode_guard("document", key):
        return decode_entry(key, data)


def _part_id(key: str, number: int) -> str:
    return point_id(f"{number}:{key}", "blob")


def _part(point: StoredPoint, key: str, number: int, whole: str) -> bytes:
    with decode_guard("blob", key):
        data = as_bytes(point.payload["data"])
        if (point.payload["part"], point.payload["whole"]) != (number, whole):
            raise ValueError("a part of other bytes")
        if point.payload["sum"] != sum_of([data]):
            raise ValueError("other bytes than those its checksum is of")
        return data


def _summed_bytes(point: StoredPoint, part: str, key: str) -> bytes:
    """Return the text of a point as bytes, if its checksum is right."""
    with decode_guard(part, key):
        data = str(point.payload["data"]).encode()
        if point.payload["sum"] != sum_of([data]):
            raise ValueError("other bytes than those its checksum is of")
        return data
