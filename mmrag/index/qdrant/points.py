"""Records as points and back.

A point of the pages' collection has the UUID of its record's id, so that a second writing replaces the first,
and four vectors of its rows: ``b1`` row 0, ``b4`` and ``b16`` the first rows, ``all`` all of them. They find;
what is scored and handed out are the rows in the payload, in the bytes of every other home (`RowCodec`), so
that scores agree with those homes to the last digit, whatever the engine does to its vectors.
"""

from __future__ import annotations

import base64
import json
import math
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmrag.index import codec
from mmrag.index.block_codec import encode_blocks
from mmrag.index.checksums import RECORD_COLUMNS, StoredRecord, sum_of
from mmrag.index.dates import highest_version, period_end
from mmrag.index.identity import OPENING_LETTERS, is_first
from mmrag.index.lexical import lexical_text
from mmrag.index.qdrant.collection import Point, StoredPoint, Vector
from mmrag.index.qdrant.conditions import METADATA, filter_fields
from mmrag.index.qdrant.words import TextTerms, Tokenizer, text_terms
from mmrag.index.record_codec import decode_record
from mmrag.index.records import plain_metadata
from mmrag.index.rows import RowCodec
from mmrag.index.stored import damage_error, decode_guard
from mmrag.index.word_codec import encode_words
from mmrag.types import Matrix, Metadata, Record

SIZES = {"b1": 1, "b4": 4, "b16": 16}
"""Rows of each named vector but the last."""

ALL_ROWS = "all"
TERMS = "words"
"""Names of the vector of all rows and of the sparse vector."""

MOST_NUMBERS = 1 << 20
"""Numbers that Qdrant takes in one multi-vector."""

RECORD_FIELDS = ("id", "document", "text", "metadata", "page", "words", "context", "sum")
ROW_FIELDS = ("rows", "rows_sum")
BLOCK_FIELDS = ("blocks", "blocks_sum")
FULL_FIELDS = (*RECORD_FIELDS, *ROW_FIELDS, *BLOCK_FIELDS, "order")

_NAMESPACE = uuid.UUID("6c0de3a8-9a52-5a52-9f6e-3f0e8d0f7a11")


def point_id(id: str, kind: str = "record") -> str:
    """Return the UUID of the point of this id; the same on every machine."""
    return str(uuid.uuid5(_NAMESPACE, f"{kind}:{id}"))


class Draft(NamedTuple):
    """A record ready to be written, but for its order and whether it is live."""

    id: str
    payload: dict[str, Any]
    vectors: dict[str, Vector]

    def point(self, order: int, batch: str, *, live: bool) -> Point:
        """Return the point."""
        payload = {**self.payload, "order": order, "batch": batch, "live": int(live)}
        return Point(point_id(self.id), payload, self.vectors)


def check_sizes(records: Sequence[tuple[Record, Matrix]]) -> None:
    """Refuse records with more numbers than Qdrant takes.

    Raises:
        ValueError: the rows of a record have more.
    """
    for record, matrix in records:
        if matrix.size > MOST_NUMBERS:
            raise ValueError(
                f"the rows of record {record.id!r} must hold at most {MOST_NUMBERS} numbers in Qdrant, "
                f"got {matrix.shape}. Open the index with rows={MOST_NUMBERS // matrix.shape[1]} or fewer."
            )


def prepare(
    pairs: Sequence[tuple[Record, Matrix]],
    rows: RowCodec,
    tokenizer: Tokenizer,
    pivot: float,
    *,
    short: bool,
) -> list[Draft]:
    """Encode records for writing; the matrices as `mmrag.index.records.checked_records` gave them.

    Args:
        pairs: the records and their rows.
        rows: encodes the rows.
        tokenizer: of the texts.
        pivot: of the weights of terms.
        short: whether vectors may be cut to what float16 can tell apart: a third of the bytes of a request.
    """
    terms = text_terms(tokenizer, [lexical_text(record.context, record.text) for record, _ in pairs])
    firsts = [record for record, _ in pairs if is_first(record)]
    identities = iter(
        text_terms(tokenizer, [f"{record.context}\n{record.text[:OPENING_LETTERS]}" for record in firsts])
    )
    drafts = []
    for (record, matrix), own_terms in zip(pairs, terms, strict=True):
        payload = _record_fields(record) | _row_fields(rows.encode(matrix)) | term_fields(own_terms)
        if is_first(record):
            payload |= _identity_fields(record, next(identities))
        vectors = row_vectors(matrix, short=short) | {TERMS: own_terms.weights(pivot)}
        drafts.append(Draft(record.id, payload, vectors))
    return drafts


def draft_of(
    record: Record, matrix: Matrix, rows: RowCodec, tokenizer: Tokenizer, pivot: float, *, short: bool
) -> Draft:
    """Encode one record; see `prepare`."""
    return prepare([(record, matrix)], rows, tokenizer, pivot, short=short)[0]


def row_vectors(matrix: NDArray[Any], *, short: bool) -> dict[str, Vector]:
    """Return the named vectors of rows: ``(rows, dim)``.

    `short`: in decimal digits of a millionth of the largest number, well below a step of float16.
    """
    wide = matrix.astype(np.float64)
    peak = float(np.abs(wide).max())
    if short and peak > 0:
        wide = np.round(wide, 6 - math.ceil(math.log10(peak)))
    vectors: dict[str, Vector] = {"b1": wide[0].tolist()}
    for name, size in [*SIZES.items(), (ALL_ROWS, len(wide))]:
        if name != "b1":
            vectors[name] = wide[:size].tolist()
    return vectors


def term_fields(terms: TextTerms) -> dict[str, Any]:
    """Return the fields by which the lexical channel counts and scores."""
    return {"terms": list(terms.counts), "counts": list(terms.counts.values()), "length": terms.length}


def _identity_fields(record: Record, terms: TextTerms) -> dict[str, Any]:
    """Return the fields by which a document is named; see `mmrag.index.identity`."""
    opening = record.text[:OPENING_LETTERS]
    end = period_end(record.context) or period_end(opening)
    return {
        "first": 1,
        "identity": list(terms.counts),
        "date": "" if end is None else end.isoformat(),
        "version": highest_version(record.context) or highest_version(opening),
    }


def metadata_fields(metadata: Metadata) -> dict[str, Any]:
    """Return the fields of metadata: what is handed out, and what filters look at."""
    return {"metadata": codec.encode_metadata(metadata), METADATA: filter_fields(metadata)}


def _record_fields(record: Record) -> dict[str, Any]:
    page = record.page
    payload: dict[str, Any] = {"id": record.id, "text": record.text}
    payload |= metadata_fields(plain_metadata(record.metadata))
    if record.context:
        payload["context"] = record.context
    if page is not None:
        payload["document"] = page.document_id
        payload["page"] = codec.encode_page(page, record.id, record.text)
        payload["words"] = as_text(encode_words(page.words, record.text))
        if page.blocks is not None:
            payload |= block_fields(encode_blocks(page.blocks, record.text))
    payload["sum"] = sum_of(_columns(payload))
    return payload


def record_sum(payload: Mapping[str, Any]) -> int:
    """Return the checksum of the fields of a record, but for its rows and blocks."""
    return sum_of(_columns(payload))


def _row_fields(data: bytes) -> dict[str, Any]:
    return {"rows": as_text(data), "rows_sum": sum_of([data])}


def block_fields(data: bytes) -> dict[str, Any]:
    """Return the fields of a page's blocks."""
    return {"blocks": as_text(data), "blocks_sum": sum_of([data])}


def as_text(data: bytes) -> str:
    """Write bytes as JSON can hold them."""
    return base64.b64encode(data).decode()


def as_bytes(text: str) -> bytes:
    """Read what `as_text` wrote.

    Raises:
        ValueError: it is something else.
    """
    return base64.b64decode(text, validate=True)


def _columns(payload: Mapping[str, Any]) -> tuple[bytes | None, ...]:
    """Return the values of `RECORD_COLUMNS` as bytes."""
    fields = {"document_id": "document"}
    values = [payload.get(fields.get(column, column)) for column in RECORD_COLUMNS]
    return tuple(
        None if value is None else as_bytes(value) if column == "words" else str(value).encode()
        for column, value in zip(RECORD_COLUMNS, values, strict=True)
    )


def stored_record(payload: Mapping[str, Any], *, matrices: bool) -> StoredRecord:
    """Return a point's record as bytes with its sums.

    Raises:
        IndexDamagedError: a field is not of its form.
    """
    with decode_guard("record", str(payload.get("id"))):
        matrix = as_bytes(payload["rows"]) if matrices and "rows" in payload else None
        blocks = as_bytes(payload["blocks"]) if payload.get("blocks") is not None else None
        sums = payload.get("sum"), payload.get("rows_sum"), payload.get("blocks_sum")
        return StoredRecord(
            seq=int(payload.get("order", 0)),
            columns=_columns(payload),
            matrix=matrix,
            blocks=blocks,
            sums=sums,
            has_sums=True,
            has_matrix=matrices,
        )


def record_of(point: StoredPoint, rows: RowCodec, *, matrices: bool) -> Record:
    """Decode a point.

    Raises:
        IndexDamagedError: it is no record, or not the one that was written.
    """
    row = stored_record(point.payload, matrices=matrices)
    row.verify()
    with decode_guard("record", row.id):
        return decode_record(row, rows)


def rows_of(point: StoredPoint, rows: RowCodec, most: int | None) -> Matrix:
    """Decode the first rows of a point.

    Raises:
        IndexDamagedError: they are no rows.
    """
    id = str(point.payload.get("id"))
    try:
        return rows.decode(as_bytes(point.payload["rows"]), most)
    except (KeyError, ValueError) as error:
        raise damage_error("matrix", id, str(error)) from error


def metadata_of(point: StoredPoint) -> Metadata:
    """Decode the metadata of a point.

    Raises:
        IndexDamagedError: it is none.
    """
    with decode_guard("record", str(point.payload.get("id"))):
        return codec.decode_metadata(point.payload["metadata"])


def payload_bytes(draft: Draft) -> int:
    """Estimate the bytes of a point in a request: of its text, its rows and its vectors' digits."""
    numbers = sum(np.size(vector) for name, vector in draft.vectors.items() if name != TERMS)
    return 12 * numbers + len(json.dumps(draft.payload))
