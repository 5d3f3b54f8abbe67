"""From one store to another: all that an index holds, byte for byte, without reading a document again.

::

    old index -> its records in their order, with rows, pages and blocks -> new index -> both read and
    compared

Decisions taken here:

* *The rows stay as they are*: the new index is made with the manifest of the old one, so that every hit has
  the score it had. Another embedder is the work of `mmrag.ingest.reembed`.
* *What is there already is not written again.* Killed at any moment, the same call goes on: records have
  their ids, each batch is all there or not at all, and the documents come last, so that a half copy names no
  file.
* *Nothing is believed.* In the end every record is read from both sides and its digest compared, and so are
  documents and kept bytes; what differs is written once more, and compared once more.
* *A new index with anything else in it is refused*: a copy is of one index.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from mmrag.errors import IndexDamagedError, check_whole
from mmrag.index import codec
from mmrag.index.addresses import open_index, shown_address
from mmrag.index.base import DocumentEntry, Index, Manifest
from mmrag.index.block_codec import encode_blocks
from mmrag.index.rows import RowCodec
from mmrag.index.word_codec import encode_words
from mmrag.progress import progress_bar
from mmrag.types import Record

BATCH_RECORDS = 64
"""Records that are read, written and compared at once."""


@dataclass(frozen=True, slots=True)
class CopyReport:
    """Outcome of a copy.

    Attributes:
        old: address of the old index, as it may be shown.
        new: of the new one.
        records: pages and records in both.
        resumed: number of these that were there before.
        documents: files in both.
        blobs: kept bytes in both, by number.
        digest: of all records in their order; equal on both sides.
        seconds: wall time.
    """

    old: str
    new: str
    records: int
    resumed: int
    documents: int
    blobs: int
    digest: str
    seconds: float


@dataclass(frozen=True, slots=True)
class _Maker:
    """What a manifest says of the embedder."""

    name: str
    fingerprint: str
    dim: int

    @classmethod
    def of(cls, manifest: Manifest) -> _Maker:
        """Return the embedder of a manifest."""
        return cls(manifest.embedder, manifest.fingerprint, manifest.dim)


def copy_index(
    old: str | Path, new: str | Path, *, batch: int = BATCH_RECORDS, show_progress: bool = False
) -> CopyReport:
    """Copy an index into another store, without reading its documents or embedding anything.

    Args:
        old: directory or address of an index; it is not changed.
        new: directory or address, absent, empty, or with the beginning that an interrupted copy left.
        batch: records at once.
        show_progress: show a bar on standard error.

    Raises:
        ValueError: `old` and `new` are one, or `new` holds something that `old` does not.
        IndexFormatError: `old` is no index.
        IndexMismatchError: `new` is of another embedder.
        IndexLockedError: another process is writing `new`.
        IndexDamagedError: a record of `old` is damaged, or `new` does not give back what was written.
        ServerError: a store cannot be reached.

    Example:
        >>> copy_index("my-index", "my-copy").records
        2
    """
    check_whole("batch", batch)
    if shown_address(old) == shown_address(new):
        raise ValueError(f"the new index must be another than the old one, got {shown_address(old)} twice.")
    with closing(open_index(old, None, read_only=True)) as source:
        manifest = source.manifest
        maker = _Maker.of(manifest)
        with closing(open_index(new, maker, row_type=manifest.row_type, rows=manifest.rows)) as target:
            return copy_between(
                source,
                target,
                batch=batch,
                names=(shown_address(old), shown_address(new)),
                show_progress=show_progress,
            )


def copy_between(
    old: Index,
    new: Index,
    *,
    batch: int = BATCH_RECORDS,
    names: tuple[str, str] = ("the old index", "the new index"),
    show_progress: bool = False,
) -> CopyReport:
    """Copy an open index into another; see `copy_index`."""
    start = time.perf_counter()
    _check_makers(old.manifest, new.manifest)
    ids, documents = old.ids(), old.documents()
    present_ids = set(new.ids())
    strangers = sorted(present_ids.difference(ids)) or sorted(
        {entry.id for entry in new.documents()} - {entry.id for entry in documents}
    )
    if strangers:
        raise ValueError(
            f"the new index must be empty, or begun as a copy of the old one, got {strangers[0]!r} in "
            f"{names[1]}, which {names[0]} does not hold. Name another place."
        )
    resumed = len(present_ids)
    with progress_bar(total=2 * len(ids), initial=resumed, unit="record", is_shown=show_progress) as bar:
        for part in _parts([id for id in ids if id not in present_ids], batch):
            new.add(old.get(part, matrices=True))
            bar.update(len(part))
        blobs = sum(_copied_blob(old, new, key) for key in _blob_keys(old, ids, documents, batch))
        present_documents = {entry.id: entry for entry in new.documents()}
        for entry in documents:
            if present_documents.get(entry.id) != entry:
                new.put_document(entry)
        digest = hashlib.sha256()
        for part in _parts(ids, batch):
            digest.update(_compare(old, new, part, names[1]))
            bar.update(len(part))
    if new.ids() != ids or new.documents() != documents:
        raise IndexDamagedError(
            f"{names[1]} must hold the {len(ids)} records and {len(documents)} documents of {names[0]} in "
            f"their order, got {new.count()} and {len(new.documents())} or another order. Did another "
            "program write, or the old index change since the copy was begun? Copy into an empty place.",
            "record",
            names[1],
        )
    return CopyReport(
        *names,
        len(ids),
        resumed,
        len(documents),
        blobs,
        digest.hexdigest(),
        time.perf_counter() - start,
    )


def record_digest(record: Record, rows: RowCodec) -> bytes:
    """Return the digest of a record with its rows: of the bytes that a store keeps of it."""
    page = record.page
    parts: list[bytes] = [record.id.encode(), record.text.encode(), record.context.encode()]
    parts.append(json.dumps(json.loads(codec.encode_metadata(record.metadata)), sort_keys=True).encode())
    if page is not None:
        parts.append(codec.encode_page(page, record.id, record.text).encode())
        parts.append(encode_words(page.words, record.text))
        parts.append(b"none" if page.blocks is None else encode_blocks(page.blocks, record.text))
    if record.matrix is not None:
        parts.append(rows.encode(record.matrix))
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def _check_makers(old: Manifest, new: Manifest) -> None:
    """Refuse stores whose rows are not the same.

    Raises:
        ValueError: embedder, row type or number of rows differ.
    """
    for name in ("fingerprint", "dim", "row_type", "rows"):
        if getattr(old, name) != getattr(new, name):
            raise ValueError(
                f"the new index must have the old one's {name}, {getattr(old, name)!r}, "
                f"got {getattr(new, name)!r}. Name a place without an index."
            )


def _parts(ids: Sequence[str], batch: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), batch):
        yield ids[start : start + batch]


def _blob_keys(old: Index, ids: Sequence[str], documents: Sequence[DocumentEntry], batch: int) -> list[str]:
    """List the keys under which bytes may be kept: of files by digest, of images by record."""
    keys = [entry.sha256 for entry in documents]
    for part in _parts(ids, batch):
        pages = [(record.id, record.page) for record in old.get(part)]
        keys += [id for id, page in pages if page is not None and page.id == page.document_id]
    return list(dict.fromkeys(keys))


def _copied_blob(old: Index, new: Index, key: str) -> bool:
    """Copy bytes and compare them; return whether there are any.

    Raises:
        IndexDamagedError: the new index does not give them back.
    """
    data = old.get_blob(key)
    if data is None:
        return False
    if new.get_blob(key) != data:
        new.put_blob(key, data)
        if new.get_blob(key) != data:
            raise IndexDamagedError(
                f"the bytes of {key} must come back as they were written, got others. Copy again.",
                "blob",
                key,
            )
    return True


def _compare(old: Index, new: Index, ids: Sequence[str], name: str) -> bytes:
    """Compare records on both sides, write those anew that differ; return their digests.

    Raises:
        IndexDamagedError: the new index does not give back what was written.
    """
    rows = RowCodec.of(old.manifest)
    records = old.get(ids, matrices=True)
    digests = [record_digest(record, rows) for record in records]
    wrong = _different(new, records, digests, rows)
    if wrong:
        new.add(wrong)
        wrong = _different(new, records, digests, rows)
    if wrong:
        raise IndexDamagedError(
            f"record {wrong[0].id!r} must come back from {name} as it was written, got another. "
            "Check both indexes: mmrag check --index ADDRESS",
            "record",
            wrong[0].id,
        )
    return b"".join(digests)


def _different(
    new: Index, records: Sequence[Record], digests: Sequence[bytes], rows: RowCodec
) -> list[Record]:
    """Return the records that the new index has otherwise, or not."""
    copies = {
        record.id: record_digest(record, rows) for record in new.get([r.id for r in records], matrices=True)
    }
    return [
        record for record, digest in zip(records, digests, strict=True) if copies.get(record.id) != digest
    ]
