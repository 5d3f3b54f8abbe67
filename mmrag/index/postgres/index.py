"""The index in PostgreSQL; `mmrag.index.postgres` lists its parts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TypeVar

from mmrag.blocks import Block
from mmrag.errors import IndexReadOnlyError, check_whole
from mmrag.forks import new_lock
from mmrag.index.base import DocumentEntry, EmbedderIdentity, Manifest, RowType, StoreFacts, check_rows
from mmrag.index.check_report import CheckReport
from mmrag.index.filters import Filter, validate
from mmrag.index.identity import DocumentNames
from mmrag.index.postgres import check, facts, hnsw, reading, words, writing
from mmrag.index.postgres.addresses import DEFAULT_SCHEMA, Address, parse_address
from mmrag.index.postgres.connections import RETRY_SECONDS, Connection, Connections
from mmrag.index.postgres.opening import OpenSettings, open_tables
from mmrag.index.postgres.schema import Tables
from mmrag.index.postgres.vectors import SESSION, SURVIVORS, Question, RowSearch
from mmrag.index.records import budget_rows, check_k, checked_query, checked_records
from mmrag.index.rows import RowCodec
from mmrag.scoring import take_budget
from mmrag.types import Budget, Hit, Matrix, Metadata, Record, Scalar

T = TypeVar("T")

ADD_CHUNK = 1000
"""Records that one statement adds; a call is one transaction however many it has."""

UPKEEP_FROM = 64
"""Calls of `add` between two looks at the totals and at the index of the first stage."""

STATEMENT_SECONDS = 60.0
MAX_CONNECTIONS = 8


class PostgresIndex:
    """Index in a schema of a PostgreSQL database; see `mmrag.index.base.Index` for every method.

    Any number of processes read and write at once, from any machine: a call of `add` is one transaction, and
    what is read sees whole calls. In a child made by ``os.fork`` it goes on, on connections of its own.

    `search_vectors` is one statement (`mmrag.index.postgres.vectors`), `search_text` another; both are exact
    where the index is small, and approximate in the first stage of vectors alone.

    With replicas (`read_url`) the searches, and all that a read-only index reads, go there, and see a write
    as late as the replica does; what an index open for writing reads beside searches is asked of the primary,
    so that adding sees its own writes.
    """

    def __init__(
        self,
        primary: Connections,
        replica: Connections,
        tables: Tables,
        manifest: Manifest,
        *,
        read_only: bool,
        survivors: int,
    ) -> None:
        self._primary = primary
        self._replica = replica
        self._tables = tables
        self._manifest = manifest
        self._read_only = read_only
        self._codec = RowCodec.of(manifest)
        self._rows = RowSearch(tables, self._codec, survivors)
        self._lock = new_lock()
        self._adds = 0
        self._is_owner = True  # until the server says otherwise

    @classmethod
    def open(
        cls,
        url: str,
        embedder: EmbedderIdentity | None,
        *,
        schema: str | None = None,
        read_only: bool = False,
        row_type: RowType | None = None,
        rows: int | None = None,
        read_url: str | None = None,
        max_connections: int = MAX_CONNECTIONS,
        statement_seconds: float | None = None,
        retry_seconds: float = RETRY_SECONDS,
        survivors: int = SURVIVORS,
        prepare: bool = True,
    ) -> PostgresIndex:
        """Open the index in a schema; for writing, make schema and tables where there are none.

        Args:
            url: ``postgresql://user@host:port/database``; see `mmrag.index.postgres.addresses`.
            embedder: what made or will make its vectors; None opens an index whoever made it, and makes none.
            schema: None: that of the url, or ``"mmrag"``.
            read_only: search only; a role that may only SELECT is enough.
            row_type: how rows are stored, ``"int8"`` or ``"float16"``. None: as the index was made, a new one
                with int8.
            rows: most rows of a record that are stored, the first ones. None: as the index was made, a new
                one with all.
            read_url: of replicas; None: that of the url, or none.
            max_connections: of this index, at a time, to each of both.
            statement_seconds: longest that a statement may take. None: that of the url, or 60.
            retry_seconds: how long a server that went away is waited for.
            survivors: least number that the first stage of `search_vectors` hands on.
            prepare: prepare statements on the server; False behind a pooler that gives each transaction
                another connection.

        Raises:
            ValueError: an argument is not valid, or `row_type` or `rows` is not that of the index.
            IndexFormatError: the schema holds something else, or an index of a newer format.
            IndexMismatchError: another embedder made it.
            ServerUnreachableError: there is no server.
            ServerAccessError: it refuses user, password, database or right.
            ServerUnfitError: it is too old, or pgvector is missing and may not be added.
        """
        check_rows(row_type, rows)
        check_whole("max_connections", max_connections)
        check_whole("survivors", survivors)
        address = parse_address(url)
        name = schema or address.schema or DEFAULT_SCHEMA
        seconds = statement_seconds or address.statement_seconds or STATEMENT_SECONDS
        settings = OpenSettings(name, embedder, read_only, row_type, rows)
        replica_url = read_url or address.read_url

        def connections(part: Address, *, reads: bool) -> Connections:
            options = _session_options(seconds, reads=reads)
            return Connections(
                part, most=max_connections, options=options, retry_seconds=retry_seconds, prepare=prepare
            )

        primary = connections(address, reads=read_only)
        replica = connections(parse_address(replica_url), reads=True) if replica_url else primary
        try:
            source = replica if read_only else primary
            with source.session("opening the index") as connection:
                tables, manifest = open_tables(connection, settings, source.address.label)
        except BaseException:
            primary.close()
            replica.close()
            raise
        return cls(
            replica if read_only else primary,
            replica,
            tables,
            manifest,
            read_only=read_only,
            survivors=survivors,
        )

    @property
    def manifest(self) -> Manifest:
        """What the index was made with."""
        return self._manifest

    @property
    def read_only(self) -> bool:
        """Whether the index was opened for reading only."""
        return self._read_only

    @property
    def address(self) -> str:
        """Where it is, without a password."""
        label = self._primary.address.label
        if self._primary.address.schema == self._tables.schema:
            return label
        return f"{label}{'&' if '?' in label else '?'}schema={self._tables.schema}"

    def store_facts(self) -> StoreFacts:
        """Ask the server what it is, and what the index takes there."""
        result = self._primary.read(
            "a look at the store", lambda connection: facts.store_facts(connection, self._tables)
        )
        replica = () if self._replica is self._primary else (f"searches: {self._replica.address.label}",)
        return replace(result, address=self.address, details=(*result.details, *replica))

    def check(self, *, repair: bool = False) -> CheckReport:
        """See `Index.check`. A repair locks the records that it mends, and no others."""
        if repair:
            self._require_writable()
        with self._primary.session("a check") as connection, connection.transaction():
            if not repair:
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            return check.check_tables(connection, self._tables, self._codec, repair=repair)

    def close(self) -> None:
        """See `Index.close`."""
        self._primary.close()
        self._replica.close()

    def __repr__(self) -> str:
        """Return where it is; no password."""
        return f"<PostgresIndex at {self.address}{', read-only' if self._read_only else ''}>"

    # -- writing ----------------------------------------------------------------------------

    def add(self, records: Sequence[Record]) -> None:
        """See `Index.add`."""
        self._require_writable()
        rows = writing.stored_rows(checked_records(records, self._manifest), self._manifest)
        if not rows:
            return

        def add(connection: Connection) -> None:
            for start in range(0, len(rows), ADD_CHUNK):
                writing.add_records(connection, self._tables, rows[start : start + ADD_CHUNK])

        self._primary.write(f"adding {len(rows)} records", add)
        self._tidy(len(rows))

    def delete(self, ids: Sequence[str]) -> int:
        """See `Index.delete`."""
        return self._write(
            f"deleting {len(ids)} records",
            lambda connection: writing.delete_records(connection, self._tables, ids),
        )

    def update_metadata(self, ids: Sequence[str], values: Metadata) -> None:
        """See `Index.update_metadata`."""
        self._write(
            "an update of metadata",
            lambda connection: writing.update_metadata(connection, self._tables, ids, values),
        )

    def put_document(self, entry: DocumentEntry) -> None:
        """See `Index.put_document`."""
        self._write(
            "keeping an entry", lambda connection: writing.put_document(connection, self._tables, entry)
        )

    def remove_document(self, document_id: str) -> int:
        """See `Index.remove_document`."""
        return self._write(
            "removing a document",
            lambda connection: writing.remove_document(connection, self._tables, document_id),
        )

    def put_blocks(self, id: str, blocks: Sequence[Block]) -> None:
        """See `Index.put_blocks`."""
        self._write(
            "keeping blocks", lambda connection: writing.put_blocks(connection, self._tables, id, blocks)
        )

    def put_blob(self, key: str, data: bytes) -> None:
        """See `Index.put_blob`."""
        self._write("keeping bytes", lambda connection: writing.put_blob(connection, self._tables, key, data))

    def _write(self, task: str, work: Callable[[Connection], T]) -> T:
        self._require_writable()
        return self._primary.write(task, work)

    def _require_writable(self) -> None:
        if self._read_only:
            raise IndexReadOnlyError(
                f"index {self.address} was opened with read_only=True and cannot be changed. "
                "Open it without read_only."
            )

    def _tidy(self, added: int) -> None:
        """Add up the totals now and then, and make the index of the first stage once it is worth it."""
        with self._lock:
            before, self._adds = self._adds, self._adds + max(1, added * UPKEEP_FROM // ADD_CHUNK)
        if before // UPKEEP_FROM == self._adds // UPKEEP_FROM:
            return
        self._primary.write(
            "adding up the totals", lambda connection: writing.fold_totals(connection, self._tables)
        )
        if self._is_owner:
            is_built = hnsw.build_where_worth(self._primary, self._tables, self._manifest)
            self._is_owner = is_built is not None

    # -- reading ----------------------------------------------------------------------------

    def get(self, ids: Sequence[str], *, matrices: bool = False) -> list[Record]:
        """See `Index.get`."""
        return self._primary.read(
            "reading records",
            lambda connection: reading.get_records(
                connection, self._tables, self._codec, ids, matrices=matrices
            ),
        )

    def ids(self, filter: Filter | None = None) -> list[str]:
        """See `Index.ids`."""
        validate(filter)
        return self._primary.read(
            "listing ids", lambda connection: reading.record_ids(connection, self._tables, filter)
        )

    def count(self, filter: Filter | None = None) -> int:
        """See `Index.count`."""
        validate(filter)
        return self._primary.read(
            "counting records", lambda connection: reading.count_records(connection, self._tables, filter)
        )

    def values(self, key: str) -> list[Scalar]:
        """See `Index.values`."""
        return self._primary.read(
            "listing values", lambda connection: reading.metadata_values(connection, self._tables, key)
        )

    def documents(self) -> list[DocumentEntry]:
        """See `Index.documents`."""
        return self._primary.read(
            "listing documents", lambda connection: reading.document_entries(connection, self._tables)
        )

    def get_blob(self, key: str) -> bytes | None:
        """See `Index.get_blob`."""
        return self._primary.read(
            "reading bytes", lambda connection: reading.get_blob(connection, self._tables, key)
        )

    def search_text(
        self, text: str, *, k: int, filter: Filter | None = None, without: Collection[str] = ()
    ) -> list[Hit]:
        """See `Index.search_text`."""
        check_k(k)
        validate(filter)
        return self._replica.read(
            "a search by words",
            lambda connection: words.search_text(connection, self._tables, text, k, filter, without),
        )

    def name_documents(self, text: str) -> DocumentNames:
        """See `Index.name_documents`."""
        return self._replica.read(
            "a search for documents", lambda connection: words.name_documents(connection, self._tables, text)
        )

    def document_ids(self, ids: Sequence[str]) -> dict[str, str]:
        """See `Index.document_ids`."""
        return self._replica.read(
            "reading ids of documents", lambda connection: reading.document_ids(connection, self._tables, ids)
        )

    def score(self, query: Matrix, ids: Sequence[str], *, budget: Budget | None = None) -> list[Hit]:
        """See `Index.score`."""
        query_rows, document_rows = budget_rows(budget)
        rows = take_budget(checked_query(query, self._manifest.dim), query_rows)
        return self._replica.read(
            "scoring records", lambda connection: self._rows.score(connection, rows, ids, document_rows)
        )

    def search_vectors(
        self,
        query: Matrix,
        *,
        k: int,
        budget: Budget | None = None,
        filter: Filter | None = None,
        exact: bool = False,
    ) -> list[Hit]:
        """See `Index.search_vectors` and the class."""
        check_k(k)
        validate(filter)
        query_rows, document_rows = budget_rows(budget)
        rows = take_budget(checked_query(query, self._manifest.dim), query_rows)
        question = Question(rows, k, document_rows, filter)

        def search(connection: Connection) -> list[Hit]:
            if not exact:
                return self._rows.search(connection, question)
            with connection.transaction():
                return self._rows.search_all(connection, question)

        return self._replica.read("a search by vectors", search)


def _session_options(seconds: float, *, reads: bool) -> str:
    """Return the settings of a session: time-outs, the first stage, and whether it may write."""
    options = [
        SESSION,
        f"-c statement_timeout={round(seconds * 1000)}",
        "-c idle_in_transaction_session_timeout=300000",
    ]
    if reads:
        options.append("-c default_transaction_read_only=on")
    return " ".join(options)
