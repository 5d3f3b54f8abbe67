"""What writes to the tables: each function runs in one transaction of the caller, whole or not at all.

Rows are locked in the order of their keys, so that two writers of the same records wait for each other and
do not end in a deadlock. Where PostgreSQL finds one all the same (a document that is removed while its pages
are added), the transaction is tried again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from mmrag.blocks import Block
from mmrag.index import codec
from mmrag.index.base import DocumentEntry, Manifest
from mmrag.index.block_codec import encode_blocks
from mmrag.index.checksums import OTHER_BYTES, sum_of
from mmrag.index.postgres import values
from mmrag.index.postgres.connections import Connection
from mmrag.index.postgres.schema import Tables
from mmrag.index.postgres.words import Words, words_of
from mmrag.index.record_codec import check_page
from mmrag.index.records import check_metadata, flat_metadata, merged_metadata, plain_metadata
from mmrag.index.rows import RowCodec
from mmrag.index.stored import damage_error, decode_guard
from mmrag.index.word_codec import encode_words
from mmrag.types import Matrix, Metadata, Record

MOST_BLOB = (1 << 30) - (1 << 20)
"""Largest value of PostgreSQL, with room for its message."""

_INSERT = """
WITH new AS MATERIALIZED (
    SELECT nextval({numbers_name}::regclass) AS seq, item.* FROM unnest(
        %s::bytea[], %s::text[], %s::text[], %s::jsonb[], %s::{halfvec}[], %s::{halfvec}[]
    ) WITH ORDINALITY AS item(key, id, document, metadata, first, middle, position) ORDER BY position
)
INSERT INTO {records} AS records (seq, key, id, document, metadata, first, middle)
SELECT seq, key, id, document, metadata, first, middle FROM new ORDER BY key
ON CONFLICT (key) DO UPDATE SET document = excluded.document, metadata = excluded.metadata,
    first = excluded.first, middle = excluded.middle
RETURNING records.key, records.seq, records.xmax = 0
"""

_NEW_TOTALS = "INSERT INTO {totals} (records, terms) VALUES (%s, %s)"

FOLD_FROM = 512
"""Changes of the totals from which a writer adds them up."""


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A record as its fields in the tables.

    Attributes:
        record: the record.
        contents: text, metadata, page, words, context, and their sum.
        rows: encoded matrix.
        blocks: encoded blocks; None without.
        words: what it is found by.
        first: row 0, ``(dim,)``.
        middle: what the first stage looks at, ``(dim,)`` of length 1.
    """

    record: Record
    contents: tuple[bytes | None, ...]
    rows: bytes
    blocks: bytes | None
    words: Words
    first: NDArray[np.float64]
    middle: NDArray[np.float64]


def middle_of(matrix: Matrix) -> NDArray[np.float64]:
    """Return the mean of a matrix's rows at length 1: what finds most of one vector (`docs/lab-log.md`)."""
    mean: NDArray[np.float64] = np.asarray(matrix, np.float64).mean(0)
    length = float(np.linalg.norm(mean))
    return mean / length if length > 0 else mean


def record_sum(record: Record, columns: Sequence[bytes | None]) -> int:
    """Return the checksum of a record, as `mmrag.index.checksums` has it."""
    document = None if record.page is None else record.page.document_id.encode()
    text, metadata, page, words, context = columns
    return sum_of([record.id.encode(), document, text, metadata, page, words, context])


def stored_rows(pairs: Sequence[tuple[Record, Matrix]], manifest: Manifest) -> list[StoredRow]:
    """Encode records that were checked; raises as `mmrag.index.record_codec.check_page` does.

    All that takes time is done here, so that the transaction to come is short.
    """
    row_codec = RowCodec.of(manifest)
    result = []
    for (record, matrix), words in zip(pairs, words_of([record for record, _ in pairs]), strict=True):
        check_page(record)
        page = record.page
        columns = (
            record.text.encode(),
            codec.encode_metadata(plain_metadata(record.metadata)).encode(),
            None if page is None else codec.encode_page(page, record.id, record.text).encode(),
            None if page is None else encode_words(page.words, record.text),
            record.context.encode() or None,
        )
        blocks = None if page is None or page.blocks is None else encode_blocks(page.blocks, record.text)
        rows = np.asarray(matrix, np.float64)
        contents = (*columns, values.int8_field(record_sum(record, columns)))
        result.append(
            StoredRow(record, contents, row_codec.encode(matrix), blocks, words, rows[0], middle_of(matrix))
        )
    return result


def add_records(connection: Connection, tables: Tables, rows: Sequence[StoredRow]) -> None:
    """Add or replace records."""
    records = [row.record for row in rows]
    number_rows = connection.execute(
        tables.sql(_INSERT),
        [
            [values.key_of(record.id) for record in records],
            [values.stored_text(record.id) for record in records],
            [_document(record) for record in records],
            [values.filter_json(plain_metadata(record.metadata)) for record in records],
            [values.vector_text(row.first) for row in rows],
            [values.vector_text(row.middle) for row in rows],
        ],
    ).fetchall()
    seqs = {bytes(key): seq for key, seq, _ in number_rows}
    old_seqs = [seq for _, seq, is_new in number_rows if not is_new]
    if old_seqs:
        _drop_parts(connection, tables, old_seqs)
    numbers = [seqs[values.key_of(record.id)] for record in records]
    _copy(
        connection,
        tables.sql(
            "COPY {contents} (seq, text, metadata, page, words, context, sum) FROM STDIN (FORMAT BINARY)"
        ),
        [
            (values.int8_field(seq), *_contents_fields(row.contents))
            for seq, row in zip(numbers, rows, strict=True)
        ],
    )
    _copy(
        connection,
        tables.sql("COPY {vectors} (seq, rows, sum) FROM STDIN (FORMAT BINARY)"),
        [
            (values.int8_field(seq), row.rows, values.int8_field(sum_of([row.rows])))
            for seq, row in zip(numbers, rows, strict=True)
        ],
    )
    blocks = [
        (values.int8_field(seq), row.blocks, values.int8_field(sum_of([row.blocks])))
        for seq, row in zip(numbers, rows, strict=True)
        if row.blocks is not None
    ]
    if blocks:
        _copy(connection, tables.sql("COPY {blocks} (seq, data, sum) FROM STDIN (FORMAT BINARY)"), blocks)
    put_words(
        connection, tables, [(seq, row.record, row.words) for seq, row in zip(numbers, rows, strict=True)]
    )


def _document(record: Record) -> str | None:
    return None if record.page is None else values.stored_text(record.page.document_id)


def _contents_fields(contents: Sequence[bytes | None]) -> list[bytes | None]:
    """Return the fields of ``contents``: texts without zero characters; page and metadata are ASCII."""
    text, metadata, page, words, context, total = contents
    assert text is not None
    return [
        values.text_field(text.decode()),
        metadata,
        page,
        words,
        None if context is None else values.text_field(context.decode()),
        total,
    ]


def put_words(connection: Connection, tables: Tables, entries: Sequence[tuple[int, Record, Words]]) -> None:
    """Make records findable by their words; they have none yet."""
    _copy(
        connection,
        tables.sql("COPY {lexical} (seq, document, length, terms) FROM STDIN (FORMAT BINARY)"),
        [
            (
                values.int8_field(seq),
                None if record.page is None else values.text_field(record.page.document_id),
                values.int4_field(words.length),
                values.jsonb_field(words.terms),
            )
            for seq, record, words in entries
        ],
    )
    identities = [
        (seq, record.page.document_id, *words.identity)
        for seq, record, words in entries
        if record.page is not None and words.identity is not None
    ]
    if identities:
        _copy(
            connection,
            tables.sql("COPY {identities} (seq, document, terms, date, version) FROM STDIN (FORMAT BINARY)"),
            [
                (
                    values.int8_field(seq),
                    values.text_field(document),
                    values.jsonb_field(terms),
                    *map(values.text_field, times),
                )
                for seq, document, terms, *times in identities
            ],
        )
    _change_totals(connection, tables, len(entries), sum(words.length for _, _, words in entries))


def _copy(connection: Connection, statement: sql.Composed, rows: Iterable[Sequence[bytes | None]]) -> None:
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(values.copy_bytes(rows))


def _drop_parts(connection: Connection, tables: Tables, seqs: Sequence[int]) -> None:
    """Delete all of these records but their rows of ``records``."""
    forget_words(connection, tables, seqs)
    for name in ("contents", "vectors", "blocks"):
        connection.execute(tables.sql(f"DELETE FROM {{{name}}} WHERE seq = ANY (%s)"), [list(seqs)])


def forget_words(connection: Connection, tables: Tables, seqs: Sequence[int]) -> None:
    """Take records out of the full text, and out of the totals."""
    lengths = connection.execute(
        tables.sql("DELETE FROM {lexical} WHERE seq = ANY (%s) RETURNING length"), [list(seqs)]
    ).fetchall()
    connection.execute(tables.sql("DELETE FROM {identities} WHERE seq = ANY (%s)"), [list(seqs)])
    if lengths:
        _change_totals(connection, tables, -len(lengths), -sum(length for (length,) in lengths))


def _change_totals(connection: Connection, tables: Tables, records: int, terms: int) -> None:
    connection.execute(tables.sql(_NEW_TOTALS), (records, terms))


def fold_totals(connection: Connection, tables: Tables) -> None:
    """Add the changes of the totals up, once there are many; one writer at a time does."""
    count = connection.execute(tables.sql("SELECT count(*) FROM {totals}")).fetchone()
    if count is None or count[0] < FOLD_FROM:
        return
    is_mine = connection.execute(
        "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 1))", (f"mmrag {tables.schema}",)
    ).fetchone()
    if is_mine and is_mine[0]:
        # rows that a snapshot sees are committed: none of them can change any more
        connection.execute(
            tables.sql(
                "WITH gone AS (DELETE FROM {totals} RETURNING records, terms) "
                "INSERT INTO {totals} (records, terms) SELECT sum(records), sum(terms) FROM gone"
            )
        )


def lock_records(connection: Connection, tables: Tables, ids: Sequence[str]) -> dict[str, int]:
    """Lock records until the transaction ends; return their numbers in the order asked."""
    keys = sorted({values.key_of(id) for id in ids})
    rows = connection.execute(
        tables.sql("SELECT id, seq FROM {records} WHERE key = ANY (%s) ORDER BY key FOR UPDATE"), [keys]
    ).fetchall()
    seqs = {values.loaded_text(id): seq for id, seq in rows}
    return {id: seqs[id] for id in dict.fromkeys(ids) if id in seqs}


def delete_records(connection: Connection, tables: Tables, ids: Sequence[str]) -> int:
    """Delete records, with bytes kept under their ids; return how many were there."""
    keys = sorted({values.key_of(id) for id in ids})
    connection.execute(tables.sql("DELETE FROM {blobs} WHERE key = ANY (%s)"), [keys])
    return _delete(connection, tables, list(lock_records(connection, tables, ids).values()))


def _delete(connection: Connection, tables: Tables, seqs: list[int]) -> int:
    if seqs:
        forget_words(connection, tables, seqs)
        connection.execute(tables.sql("DELETE FROM {records} WHERE seq = ANY (%s)"), [seqs])
    return len(seqs)


def update_metadata(connection: Connection, tables: Tables, ids: Sequence[str], new: Metadata) -> None:
    """Set these keys on these records."""
    check_metadata(flat_metadata(new), ", ".join(ids[:3]))
    seqs = lock_records(connection, tables, ids)
    rows = connection.execute(
        tables.sql(
            "SELECT r.seq, r.id, r.document, c.text, c.metadata, c.page, c.words, c.context, c.sum "
            "FROM {records} r JOIN {contents} c USING (seq) WHERE r.seq = ANY (%s)"
        ),
        [list(seqs.values())],
        binary=True,
    ).fetchall()
    changes = []
    for seq, id, document, text, metadata, page, words, context, total in rows:
        id = values.loaded_text(id)
        columns = [
            id.encode(),
            None if document is None else values.loaded_text(document).encode(),
            values.loaded_text(text).encode(),
            metadata.encode(),
            None if page is None else page.encode(),
            words,
            None if context is None else values.loaded_text(context).encode(),
        ]
        if sum_of(columns) != total:  # or the sum to come would be of damaged data
            raise damage_error("record", id, OTHER_BYTES)
        with decode_guard("record", id):
            merged_values = merged_metadata(codec.decode_metadata(metadata), new)
        encoded_entry = codec.encode_metadata(merged_values)
        columns[3] = encoded_entry.encode()
        changes.append((seq, values.filter_json(merged_values), encoded_entry, sum_of(columns)))
    if not changes:
        return
    numbers, filters, encodings, sums = map(list, zip(*changes, strict=True))
    connection.execute(
        tables.sql(
            "UPDATE {contents} AS c SET metadata = n.metadata, sum = n.sum "
            "FROM unnest(%s::bigint[], %s::text[], %s::bigint[]) AS n(seq, metadata, sum) WHERE c.seq = n.seq"
        ),
        [numbers, encodings, sums],
    )
    connection.execute(
        tables.sql(
            "UPDATE {records} AS r SET metadata = n.metadata FROM unnest(%s::bigint[], %s::jsonb[]) "
            "AS n(seq, metadata) WHERE r.seq = n.seq"
        ),
        [numbers, filters],
    )


def put_blocks(connection: Connection, tables: Tables, id: str, blocks: Sequence[Block]) -> None:
    """Keep the blocks of a record's page; passed over where there is none."""
    row = connection.execute(
        tables.sql(
            "SELECT r.seq, c.text FROM {records} r JOIN {contents} c USING (seq) "
            "WHERE r.key = %s AND c.page IS NOT NULL FOR UPDATE OF r"
        ),
        [values.key_of(id)],
    ).fetchone()
    if row is None:
        return
    seq, text = row
    data = encode_blocks(blocks, values.loaded_text(text))
    connection.execute(
        tables.sql(
            "INSERT INTO {blocks} (seq, data, sum) VALUES (%s, %s, %s) "
            "ON CONFLICT (seq) DO UPDATE SET data = excluded.data, sum = excluded.sum"
        ),
        (seq, data, sum_of([data])),
    )


def put_document(connection: Connection, tables: Tables, entry: DocumentEntry) -> None:
    """Add or replace a file's entry."""
    encoded_entry = codec.encode_entry(entry)
    connection.execute(
        tables.sql(
            "INSERT INTO {documents} (key, id, entry, sum) VALUES (%s, %s, %s, %s) "
            "ON CONFLICT (key) DO UPDATE SET entry = excluded.entry, sum = excluded.sum"
        ),
        (
            values.key_of(entry.id),
            values.stored_text(entry.id),
            encoded_entry,
            sum_of([encoded_entry.encode()]),
        ),
    )


def remove_document(connection: Connection, tables: Tables, document_id: str) -> int:
    """Remove a file's entry, its page records and its kept bytes; return the page records."""
    rows = connection.execute(
        tables.sql("SELECT seq FROM {records} WHERE document = %s ORDER BY key FOR UPDATE"),
        [values.stored_text(document_id)],
    ).fetchall()
    connection.execute(tables.sql("DELETE FROM {documents} WHERE key = %s"), [values.key_of(document_id)])
    ids = connection.execute(
        tables.sql("SELECT id FROM {records} WHERE seq = ANY (%s)"), [[seq for (seq,) in rows]]
    ).fetchall()
    keys = [values.key_of(values.loaded_text(id)) for (id,) in ids]
    connection.execute(tables.sql("DELETE FROM {blobs} WHERE key = ANY (%s)"), [keys])
    # a document's id is the start of its digest
    connection.execute(
        tables.sql("DELETE FROM {blobs} WHERE substr(name, 1, 16) = %s AND length(name) = 64"),
        [values.stored_text(document_id)],
    )
    return _delete(connection, tables, [seq for (seq,) in rows])


def put_blob(connection: Connection, tables: Tables, key: str, data: bytes) -> None:
    """Keep bytes.

    Raises:
        ValueError: they are more than a value of PostgreSQL may be.
    """
    if len(data) > MOST_BLOB:
        raise ValueError(
            f"bytes kept in PostgreSQL must be at most {MOST_BLOB}, got {len(data)}. "
            "Add the file by its path."
        )
    connection.execute(
        tables.sql(
            "INSERT INTO {blobs} (key, name, data, sum) VALUES (%s, %s, %s, %s) "
            "ON CONFLICT (key) DO UPDATE SET data = excluded.data, sum = excluded.sum"
        ),
        (values.key_of(key), values.stored_text(key), data, sum_of([data])),
        binary=True,
    )
