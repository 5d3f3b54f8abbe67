"""What reads the tables: records, ids, values, entries and bytes; one statement each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mmrag.index.base import DocumentEntry
from mmrag.index.checksums import OTHER_BYTES, StoredRecord, sum_of
from mmrag.index.filters import Filter
from mmrag.index.postgres import values
from mmrag.index.postgres.conditions import condition_of
from mmrag.index.postgres.connections import Connection
from mmrag.index.postgres.schema import Tables
from mmrag.index.record_codec import decode_entry, decode_record
from mmrag.index.rows import RowCodec
from mmrag.index.stored import damage_error, decode_guard
from mmrag.types import Record, Scalar

_RECORDS = """
SELECT r.seq, r.id, r.document, c.text, c.metadata, c.page, c.words, c.context, c.sum, b.data, b.sum
    {matrix_columns}
FROM {records} r LEFT JOIN {contents} c USING (seq) LEFT JOIN {blocks} b USING (seq) {matrix_join}
"""

_MATRIX = ", v.rows, v.sum", "LEFT JOIN {vectors} v USING (seq)"

_VALUES = """
SELECT DISTINCT item.value FROM {records} AS records,
    jsonb_array_elements(coalesce(records.metadata -> %s, '[]')) AS item(value)
"""


def record_statement(condition: str, *, matrices: bool) -> str:
    """Return the text of a statement whose rows `stored_record` takes."""
    columns, join = _MATRIX if matrices else ("", "")
    text = _RECORDS.replace("{matrix_columns}", columns).replace("{matrix_join}", join)
    return f"{text} WHERE {condition}"


def stored_record(row: Sequence[Any], *, matrices: bool) -> StoredRecord:
    """Return a row as bytes with its sums."""
    seq, id, document, text, metadata, page, words, context, total, blocks, blocks_sum, *matrix = row
    columns = (
        values.loaded_text(id).encode(),
        _text_bytes(document),
        _text_bytes(text),
        None if metadata is None else metadata.encode(),
        None if page is None else page.encode(),
        words,
        _text_bytes(context),
    )
    rows, rows_sum = matrix or (None, None)
    return StoredRecord(seq, columns, rows, blocks, (total, rows_sum, blocks_sum), True, matrices)


def _text_bytes(text: str | None) -> bytes | None:
    return None if text is None else values.loaded_text(text).encode()


def get_records(
    connection: Connection, tables: Tables, codec: RowCodec, ids: Sequence[str], *, matrices: bool
) -> list[Record]:
    """Get records in the order of `ids`; missing ones are left out."""
    statement = tables.sql(record_statement("r.key = ANY (%s)", matrices=matrices))
    keys = [values.key_of(id) for id in dict.fromkeys(ids)]
    records: dict[str, Record] = {}
    for row in connection.execute(statement, [keys], binary=True):
        stored_row = stored_record(row, matrices=matrices)
        stored_row.verify()
        with decode_guard("record", stored_row.id):
            record = decode_record(stored_row, codec)
        records[record.id] = record
    return [records[id] for id in ids if id in records]


def record_ids(connection: Connection, tables: Tables, filter: Filter | None) -> list[str]:
    """List the ids of the records that pass a filter, in the order of adding."""
    condition, parameters = condition_of(filter)
    statement = tables.sql(f"SELECT id FROM {{records}} WHERE {condition} ORDER BY seq")
    return [values.loaded_text(id) for (id,) in connection.execute(statement, parameters)]


def count_records(connection: Connection, tables: Tables, filter: Filter | None) -> int:
    """Count the records that pass a filter; all of them by the totals, which are exact.

    Where row-level security lets a role see a part of the records, these are counted.
    """
    if not filter:
        statement = tables.sql(
            "SELECT CASE WHEN row_security_active({records_name}) THEN (SELECT count(*) FROM {records}) "
            "ELSE (SELECT coalesce(sum(records), 0) FROM {totals}) END"
        )
        row = connection.execute(statement).fetchone()
    else:
        condition, parameters = condition_of(filter)
        statement = tables.sql(f"SELECT count(*) FROM {{records}} WHERE {condition}")
        row = connection.execute(statement, parameters).fetchone()
    return 0 if row is None else int(row[0])


def metadata_values(connection: Connection, tables: Tables, key: str) -> list[Scalar]:
    """List the distinct values of a metadata key: booleans, numbers, texts, each sorted."""
    rows = connection.execute(tables.sql(_VALUES), [values.stored_text(key)]).fetchall()
    distinct_values = [values.loaded_text(value) if isinstance(value, str) else value for (value,) in rows]
    return sorted(distinct_values, key=lambda value: (_rank(value), value))


def _rank(value: Scalar) -> int:
    return 0 if isinstance(value, bool) else 2 if isinstance(value, str) else 1


def document_ids(connection: Connection, tables: Tables, ids: Sequence[str]) -> dict[str, str]:
    """Map each of these records that is of a document to the document's id."""
    rows = connection.execute(
        tables.sql("SELECT id, document FROM {records} WHERE key = ANY (%s) AND document IS NOT NULL"),
        [[values.key_of(id) for id in dict.fromkeys(ids)]],
    ).fetchall()
    documents = {values.loaded_text(id): values.loaded_text(document) for id, document in rows}
    return {id: documents[id] for id in ids if id in documents}


def document_entries(connection: Connection, tables: Tables) -> list[DocumentEntry]:
    """List the documents in the order they were added."""
    rows = connection.execute(
        tables.sql("SELECT id, entry, sum FROM {documents} ORDER BY position")
    ).fetchall()
    return list(_entries(rows))


def _entries(rows: Sequence[tuple[str, str, int]]) -> Iterator[DocumentEntry]:
    for id, entry, total in rows:
        key, data = values.loaded_text(id), entry.encode()
        if sum_of([data]) != total:
            raise damage_error("document", key, OTHER_BYTES)
        with decode_guard("document", key):
            yield decode_entry(key, data)


def get_blob(connection: Connection, tables: Tables, key: str) -> bytes | None:
    """Return the stored bytes, or None."""
    row = connection.execute(
        tables.sql("SELECT data, sum FROM {blobs} WHERE key = %s"), [values.key_of(key)], binary=True
    ).fetchone()
    if row is None:
        return None
    data = bytes(row[0])
    if sum_of([data]) != row[1]:
        raise damage_error("blob", key, OTHER_BYTES)
    return data
