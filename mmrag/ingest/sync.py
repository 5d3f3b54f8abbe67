"""An index that follows a folder: what has gone is removed, what moved is renamed, what changed is replaced.

Decisions taken here:

* A file is known by its content (sha256), so one that was moved or renamed keeps its pages and vectors: only
  its names are written anew.
* Only names below the folder are touched; what was added from elsewhere stays, and so does another name of
  the same content.
* A file that is there and cannot be read now (locked, half written, no permission) keeps the pages it has.
* Removal comes last: an interrupted call has lost nothing, and the next one does the rest.
* More than half of a folder's files gone is more often a disk that is not mounted than a wish: it is refused,
  unless the caller allows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmrag.documents.inputs import InputDocument, Skipped, discover
from mmrag.files import name_words, visible
from mmrag.index.base import DocumentEntry, Index
from mmrag.ingest.records import name_metadata, name_of
from mmrag.ingest.removal import drop_name
from mmrag.ingest.report import AddReport, skipped_lines
from mmrag.types import Record, Scalar

if TYPE_CHECKING:
    from mmrag.ingest.files import Ingest
    from mmrag.ingest.report import AddProgress

MOST_NAMED = 20
"""Names of one kind that a printed plan shows."""

_BATCH = 64  # records that are renamed at a time


@dataclass(frozen=True)
class SyncPlan:
    """What a folder's index lacks, before anything is done.

    Attributes:
        folder: absolute path.
        added: new files.
        replaced: files that have changed.
        renamed: pairs of old and new path of files that were moved.
        copies: further names of content that the index already holds.
        removed: files that are gone.
        unchanged: files that are as they were.
        skipped: files that cannot be read, each with the reason.
        documents: the files that can be read.
    """

    folder: Path
    added: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    copies: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    documents: tuple[InputDocument, ...] = field(default=(), repr=False)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.added or self.replaced or self.renamed or self.copies or self.removed)

    def __str__(self) -> str:
        """Say what would be done: counts, and the names of what would change."""
        renamed = [f"{old} -> {new}" for old, new in self.renamed]
        kinds = {
            "to add": self.added,
            "to replace (the file has changed)": self.replaced,
            "to rename": renamed,
            "known under another name": self.copies,
            "to remove (the file is gone)": self.removed,
        }
        counts = [f"{len(names)} {kind}" for kind, names in kinds.items() if names]
        lines = [f"{self.folder}: {', '.join([*counts, f'{len(self.unchanged)} unchanged'])}"]
        for kind, names in kinds.items():
            lines += [f"  {kind}: {name}" for name in names[:MOST_NAMED]]
            if len(names) > MOST_NAMED:
                lines.append(f"  {kind}: {len(names) - MOST_NAMED} more")
        return visible("\n".join([*lines, *skipped_lines(self.skipped)]))


@dataclass(slots=True)
class SyncReport(AddReport):
    """Outcome of a `sync_folder`: that of an `add`, and what was moved and removed.

    Attributes:
        moves: pairs of old and new path.
        removed: files that were gone.
        pages_removed: pages that went with them.
    """

    moves: list[tuple[str, str]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    pages_removed: int = 0

    def __str__(self) -> str:
        """Say what was done."""
        lines = [AddReport.__str__(self)]
        if self.moves:
            lines.append(f"Renamed ({len(self.moves)}), nothing read again:")
            lines += [f"  {old} -> {new}" for old, new in self.moves[:MOST_NAMED]]
        if self.removed:
            lines.append(f"Removed ({len(self.removed)} files, {self.pages_removed} pages):")
            lines += [f"  {name}" for name in self.removed[:MOST_NAMED]]
        return visible("\n".join(lines))


def plan_sync(entries: Sequence[DocumentEntry], folder: str | Path, index_folder: Path | None) -> SyncPlan:
    """Compare a folder with the entries of an index; nothing is written.

    Args:
        entries: of the index.
        folder: of files.
        index_folder: the index's own, whose files are passed over; None in memory.

    Raises:
        NotADirectoryError: `folder` is a file.
    """
    root = Path(folder).expanduser().absolute()
    if root.exists() and not root.is_dir():
        raise NotADirectoryError(f"the folder to follow must be a folder, got {root}. Add the file instead.")
    documents, skipped = _files(root, index_folder)
    ids = {name_of(document): document.source.document_id for document in documents}
    known_ids = {entry.id for entry in entries}
    id_by_name = dict(_names_below(entries, root))
    unreadable = [Path(item.name).absolute() for item in skipped]
    # names that no longer lead to the content that they led to: it has moved, has changed or is gone
    old_names = {
        name: id for name, id in id_by_name.items() if ids.get(name) != id and not _is_below(name, unreadable)
    }
    new_names = {name: id for name, id in ids.items() if id_by_name.get(name) != id}
    pairs = _moves(old_names, new_names)
    gone_names = old_names.keys() - {old for old, _ in pairs}
    targets = {new for _, new in pairs}
    lists: dict[str, list[str]] = {"added": [], "replaced": [], "copies": []}
    for name, id in new_names.items():
        if name not in targets:
            lists["replaced" if name in gone_names else "copies" if id in known_ids else "added"].append(name)
    return SyncPlan(
        root,
        added=tuple(lists["added"]),
        replaced=tuple(lists["replaced"]),
        renamed=tuple(pairs),
        copies=tuple(lists["copies"]),
        removed=tuple(sorted(gone_names - ids.keys())),
        unchanged=tuple(name for name in ids if name not in new_names),
        skipped=tuple(skipped),
        documents=tuple(documents),
    )


def _moves(old_names: Mapping[str, str], new_names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return pairs of old and new name of the same content, each name once."""
    free: dict[str, list[str]] = {}
    for name, id in old_names.items():
        free.setdefault(id, []).append(name)
    return [(free[id].pop(0), name) for name, id in new_names.items() if free.get(id)]


def sync(
    ingest: Ingest,
    index: Index,
    plan: SyncPlan,
    *,
    metadata: Mapping[str, Scalar] | None = None,
    progress: Callable[[AddProgress], None] | None = None,
    context: Sequence[str] = (),
) -> SyncReport:
    """Execute a plan; `mmrag.DocumentQA.sync_folder` documents the arguments."""
    names_before = {entry.id: entry.names for entry in index.documents()}
    rename(index, plan.renamed)
    add_report = ingest.add_documents(list(plan.documents), plan.skipped, metadata, progress, context)
    report = SyncReport(**{part.name: getattr(add_report, part.name) for part in fields(AddReport)})
    report.pages_removed = remove_names(index, plan.removed)
    _rename_sources(index, names_before)
    report.moves, report.removed = list(plan.renamed), list(plan.removed)
    new_names = {new for _, new in plan.renamed}
    report.unchanged = [name for name in report.unchanged if name not in new_names]
    return report


def check_removal(plan: SyncPlan) -> None:
    """Refuse a plan that looks like a folder that is not there.

    Raises:
        ValueError: the folder is missing, or more than half of the files that the index has from it are gone.
    """
    count = len(plan.removed) + len(plan.unchanged) + len(plan.replaced) + len(plan.renamed)
    if not plan.folder.is_dir() or len(plan.removed) > count / 2:
        where = "and the folder is missing" if not plan.folder.is_dir() else "which are gone"
        raise ValueError(
            f"a folder must still have at least half of its files, got {plan.folder} with "
            f"{len(plan.removed)} of {count} to remove, {where}. If it is not mounted, mount it; "
            "if they are to be removed, pass allow_removal=True (--allow-removal)."
        )


def rename(index: Index, pairs: Sequence[tuple[str, str]]) -> None:
    """Give documents new names in place of old ones; their pages are written anew, not read or embedded.

    All names change at once, so that two files may have taken each other's name. The names of what is
    attached to a document change with its own.
    """
    new_names = dict(pairs)
    for entry in index.documents() if pairs else ():
        names = tuple(dict.fromkeys(_new_name(name, new_names) for name in entry.names))
        if names == entry.names:
            continue
        index.put_document(replace(entry, names=names))
        ids = index.ids({"doc_id": entry.id})
        for start in range(0, len(ids), _BATCH):
            records = index.get(ids[start : start + _BATCH], matrices=True)
            index.add([_renamed_record(record, names, new_names) for record in records])


def remove_names(index: Index, names: Sequence[str]) -> int:
    """Take names from their documents; return the number of pages that went with last names."""
    count = 0
    for name in names:
        entry = next((entry for entry in index.documents() if name in entry.names), None)
        if entry is not None:
            count += drop_name(index, entry, name)
    return count


def _rename_sources(index: Index, names_before: Mapping[str, tuple[str, ...]]) -> None:
    """Give the pages of documents that lost a name the path of one that they still have."""
    for entry in index.documents():
        lost_names = set(names_before.get(entry.id, ())) - set(entry.names)
        ids = index.ids({"doc_id": entry.id}) if lost_names else []
        for start in range(0, len(ids), _BATCH):
            records = index.get(ids[start : start + _BATCH], matrices=True)
            paths = {record.page.source.path for record in records if record.page is not None}
            stale_names = {path: entry.names[0] for path in paths if path in lost_names}
            if not stale_names:
                break  # renamed before, with all the others
            index.add([_renamed_record(record, entry.names, stale_names) for record in records])


def _files(root: Path, index_folder: Path | None) -> tuple[list[InputDocument], list[Skipped]]:
    """Return the documents of a folder, and what cannot be read; the index's own files are neither."""
    documents: list[InputDocument] = []
    skipped: list[Skipped] = []
    for item in discover(root) if root.is_dir() else ():
        path = Path(item.name if isinstance(item, Skipped) else name_of(item)).absolute()
        if index_folder is not None and path.is_relative_to(index_folder):
            continue
        if isinstance(item, Skipped):
            skipped.append(item)
        else:
            documents.append(item)
    return documents, skipped


def _names_below(entries: Sequence[DocumentEntry], root: Path) -> Iterator[tuple[str, str]]:
    """Yield the names below a folder with the id of their document; without what is attached to others."""
    names = {name: entry.id for entry in entries for name in entry.names}
    for name, id in names.items():
        parents = Path(name).parents
        if root in parents and not any(str(parent) in names for parent in parents):
            yield name, id


def _is_below(name: str, paths: Sequence[Path]) -> bool:
    """Check whether a file, or a folder above it, is among paths that are there but cannot be read now."""
    path = Path(name)
    return any(item == path or item in path.parents for item in paths)


def _new_name(name: str, new_names: Mapping[str, str]) -> str:
    """Return the new name of a file, or of a file that is attached to one; the old one where it has none."""
    if name in new_names:
        return new_names[name]
    carrier = next((str(parent) for parent in Path(name).parents if str(parent) in new_names), None)
    return name if carrier is None else new_names[carrier] + name[len(carrier) :]


def _renamed_record(record: Record, names: Sequence[str], new_names: Mapping[str, str]) -> Record:
    """Return a record under its document's new names: in metadata, source and the words that are searched."""
    page = record.page
    if page is None:
        return record
    source = page.source
    if source.path is not None and source.path in new_names:
        path = new_names[source.path]
        source = replace(source, path=path, name=Path(path).name)
    elif source.path is None:  # attached: named after the file that carries it
        file_names = {Path(old).name: Path(new).name for old, new in new_names.items()}
        source = replace(source, name=_new_name(source.name, file_names))
    words = name_words(page.source.name)
    context = record.context.replace(words, name_words(source.name), 1) if words else record.context
    metadata = {**record.metadata, **name_metadata(names)}
    return replace(record, page=replace(page, source=source), metadata=metadata, context=context)
