"""The index protocol: where records live and how they are found.

An index answers in *hits* of one channel at a time (`search_vectors`, `search_text`); fusing them is
the retriever's work. Two homes: `mmrag.index.memory.MemoryIndex` (exact, the reference in tests) and
`mmrag.index.chroma.ChromaIndex` (persistent, the default). The contract suite in
``tests/index/test_contract.py`` runs over both and over every home to come.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal, Protocol, TypeAlias, get_args, runtime_checkable

from mmrag.blocks import Block
from mmrag.errors import check_whole
from mmrag.index.check_report import CheckReport
from mmrag.index.filters import Filter
from mmrag.index.identity import DocumentNames
from mmrag.types import Budget, Hit, Matrix, Metadata, Record, Scalar

FORMAT_VERSION = 2
"""Of the files that this code writes. Version 1 kept rows as float16 alone; its files open as they are."""

OLD_FORMAT_VERSIONS = (1,)

RowType: TypeAlias = Literal["int8", "float16"]
"""How rows are stored: see `mmrag.index.rows`."""

ROW_TYPES: tuple[RowType, ...] = get_args(RowType)

DEFAULT_ROW_TYPE: RowType = "int8"
"""Of a new index: half the bytes of float16 (figures: ``docs/lab-log.md``)."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an index was made with; written once, checked on every open.

    Attributes:
        embedder: the embedder's name.
        fingerprint: the embedder's fingerprint.
        dim: width of the vectors.
        created: ISO 8601 time in UTC.
        format_version: of the files.
        row_type: how rows are stored, see `mmrag.index.rows`.
        rows: most rows of a record that are stored, the first ones; None: all.

    Example:
        >>> manifest = qa.index.manifest
        >>> manifest.embedder, manifest.row_type
        ('mmrag-mini', 'int8')
    """

    embedder: str
    fingerprint: str
    dim: int
    created: str
    format_version: int = FORMAT_VERSION
    row_type: RowType = "float16"
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What the store of an index on a server is, and what it costs there.

    Attributes:
        address: where it is, without passwords and keys.
        kind: engine and versions, in words.
        bytes: that the index takes on the server; None where it does not say.
        details: further lines for people: tables, indexes, shards, replicas.
    """

    address: str
    kind: str
    bytes: int | None = None
    details: tuple[str, ...] = ()


class EmbedderIdentity(Protocol):
    """The part of an embedder that an index remembers."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def fingerprint(self) -> str:
        """Digest of all that changes its vectors."""
        ...

    @property
    def dim(self) -> int:
        """Width of a vector."""
        ...


def manifest_for(
    embedder: EmbedderIdentity, row_type: RowType | None = None, rows: int | None = None
) -> Manifest:
    """Build the manifest of a new index for this embedder, dated now.

    Args:
        embedder: makes its vectors.
        row_type: None: int8.
        rows: most rows of a record that are stored; None: all.

    Raises:
        ValueError: there is no such row type, `rows` is not a whole number of at least 1, or the embedder's
            rows are not nested and `rows` would leave some out.
    """
    check_rows(row_type, rows)
    if rows is not None and not getattr(embedder, "nested", True):
        raise ValueError(
            f"rows must be None for an embedder whose rows are not nested, got {rows} with "
            f"'{embedder.name}'. Its first rows say nothing of the others: leave rows out."
        )
    return Manifest(
        embedder=embedder.name,
        fingerprint=embedder.fingerprint,
        dim=embedder.dim,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        row_type=row_type or DEFAULT_ROW_TYPE,
        rows=rows,
    )


def check_rows(row_type: object, rows: object) -> None:
    """Refuse settings of rows that no index can have; None stands for a default.

    Raises:
        ValueError: there is no such row type, or `rows` is not a whole number of at least 1.
    """
    if row_type not in (None, *ROW_TYPES):
        raise ValueError(f"row_type must be one of {', '.join(map(repr, ROW_TYPES))}, got {row_type!r}.")
    if rows is not None:
        check_whole("rows", rows, hint="None stores all rows.")


@dataclass(frozen=True, slots=True)
class DocumentEntry:
    """A file that was added: its names, its pages, and what could not be read.

    Attributes:
        id: first 16 digits of the digest.
        sha256: digest of the bytes.
        kind: see `mmrag.types.Source`.
        names: absolute paths, or the given names of bytes and images; the same content under two
            names has both.
        total_pages: pages in the file.
        settings: fingerprint of the reader settings its pages were read with, and their converter.
        complete: False while its pages are still being added.
        skipped: ``(page number, reason)`` of pages that could not be read.
    """

    id: str
    sha256: str
    kind: str
    names: tuple[str, ...]
    total_pages: int
    settings: str
    complete: bool = False
    skipped: tuple[tuple[int, str], ...] = ()

    @property
    def converter(self) -> str:
        """Return what converted the file, "libreoffice" or another; ``""`` where its pages are its own."""
        return self.settings.partition(" ")[2].rpartition("/")[0]


@runtime_checkable
class Index(Protocol):
    """Records in, hits out. Every method may be called from any thread.

    Writes raise `mmrag.errors.IndexReadOnlyError` on an index open for reading.
    """

    @property
    def manifest(self) -> Manifest: ...
    @property
    def read_only(self) -> bool: ...

    def add(self, records: Sequence[Record]) -> None:
        """Add or replace by id; all of the call or nothing of it.

        Raises:
            ValueError: a matrix is missing, not ``(rows, dim)`` with 1..4096 rows or not finite, an
                id is empty or twice in the call, or metadata is not flat.
        """
        ...

    def delete(self, ids: Sequence[str]) -> int:
        """Delete by id, with bytes kept under it; ids not there are passed over. Returns how many were."""
        ...

    def get(self, ids: Sequence[str], *, matrices: bool = False) -> list[Record]:
        """Get records in the order of `ids`, missing ones left out; matrices only where asked for."""
        ...

    def update_metadata(self, ids: Sequence[str], values: Metadata) -> None:
        """Set these keys on these records, other keys stay; ids that are not there are passed over."""
        ...

    def ids(self, filter: Filter | None = None) -> list[str]:
        """List ids in the order they were first added."""
        ...

    def count(self, filter: Filter | None = None) -> int:
        """Count all records, or those that pass the filter."""
        ...

    def values(self, key: str) -> list[Scalar]:
        """List the distinct values of a metadata key, sorted; empty for an unknown key."""
        ...

    def search_vectors(
        self,
        query: Matrix,
        *,
        k: int,
        budget: Budget | None = None,
        filter: Filter | None = None,
        exact: bool = False,
    ) -> list[Hit]:
        """Search the best `k` by late interaction at a budget, best first, ties by id.

        Score: sum over the query's first ``budget.query`` rows of the best of the document's first
        ``budget.document`` rows. ``budget=None`` uses all rows. ``exact=True`` scores every record.
        """
        ...

    def search_text(
        self, text: str, *, k: int, filter: Filter | None = None, without: Collection[str] = ()
    ) -> list[Hit]:
        """Search the best `k` by BM25 over the records' context and text, best first.

        Only records that share a term are hits. Terms in `without` do not count, unless there are no others.
        """
        ...

    def name_documents(self, text: str) -> DocumentNames:
        """Score the documents that a question names, by their names and first pages.

        See `mmrag.index.identity`. Texts of the caller's own belong to no document.
        """
        ...

    def document_ids(self, ids: Sequence[str]) -> dict[str, str]:
        """Map each of these records that is of a document to the document's id."""
        ...

    def score(self, query: Matrix, ids: Sequence[str], *, budget: Budget | None = None) -> list[Hit]:
        """Compute the exact late-interaction score of these records, in the order given, missing left out."""
        ...

    def documents(self) -> list[DocumentEntry]:
        """List the documents in the order they were added."""
        ...

    def put_document(self, entry: DocumentEntry) -> None:
        """Add or replace a file's entry."""
        ...

    def remove_document(self, document_id: str) -> int:
        """Remove a file's entry, its page records and its kept bytes. Returns the page records."""
        ...

    def put_blocks(self, id: str, blocks: Sequence[Block]) -> None:
        """Keep the blocks of a record's page, as `add` does those of `Page.blocks`.

        They are replaced with the record. An id that is not there, or has no page, is passed over.
        """
        ...

    def put_blob(self, key: str, data: bytes) -> None:
        """Keep bytes that have no path: of a document by its sha256, of an image stored by itself by its id.

        They go with the document (`remove_document`) or with the record (`delete`).
        """
        ...

    def get_blob(self, key: str) -> bytes | None:
        """Return the stored bytes, or None."""
        ...

    def check(self, *, repair: bool = False) -> CheckReport:
        """Read all that is stored and say what is wrong.

        Args:
            repair: make again what can be made of the rest. A record that is lost is left out, and its
                document marked incomplete, so that the next `add` of the file reads it again.

        Raises:
            IndexReadOnlyError: a repair of an index open for reading.
            IndexFormatError: what says of which embedder the vectors are is damaged, so nothing is repaired.
        """
        ...

    def close(self) -> None:
        """Release files and locks; calling it twice is fine."""
        ...


@runtime_checkable
class ServerIndex(Protocol):
    """The part that an index on a server has besides those of `Index`."""

    @property
    def address(self) -> str:
        """Where it is, without passwords and keys."""
        ...

    def store_facts(self) -> StoreFacts:
        """Ask the server what it is, and what the index takes there."""
        ...
