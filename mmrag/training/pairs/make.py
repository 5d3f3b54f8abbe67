"""The run that makes pairs: read every document, select over all of them, write both files whole.

The pairs of each document are kept in ``<target>.parts/`` until the run is finished, so a run that was
interrupted reads only the other documents. The same files and settings give the same bytes.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from mmrag.errors import DocumentError
from mmrag.files import atomic_write
from mmrag.serving.prompts import Prompts
from mmrag.training.mining.records import FORMAT, encode_record
from mmrag.training.pairs.read import Part, load_part, read_document
from mmrag.training.pairs.report import PairReport
from mmrag.training.pairs.rules import PACKAGE, Templates
from mmrag.training.pairs.select import Selection, select_pairs, sketches_of
from mmrag.training.pairs.settings import SELECTION_SETTINGS, VERSION, PairSettings, digest

if TYPE_CHECKING:
    from mmrag.documents import DocumentReader, InputDocument, ReaderSettings
    from mmrag.training.pairs.question_writer import QuestionWriter
    from mmrag.types import Source

Progress = Callable[[int, int, str], None]


def make_pairs(
    inputs: Any,  # noqa: ANN401  what `discover` takes: a folder, files, globs, or a list of them
    target: str | Path,
    *,
    valid: str | Path | None = None,
    settings: PairSettings | None = None,
    reader: ReaderSettings | None = None,
    password: Any = None,  # noqa: ANN401  as `DocumentReader`
    prompts: str | Path | None = None,
    writer: QuestionWriter | None = None,
    progress: Progress | None = None,
) -> PairReport:
    """Make training pairs of documents: queries, each with the page that it was made of.

    Args:
        inputs: folder, files or globs.
        target: file for the records, see `mmrag.training.mining.records`; their queries also have ``rule``,
            ``boxes`` and ``source``.
        valid: file for the pairs of held-out documents; default: ``<target's stem>.valid.jsonl`` in the same
            folder.
        settings: see `PairSettings`.
        reader: how documents are read; always with their structure, whatever its own `structure` says.
        password: for encrypted documents.
        prompts: folder with a ``templates.txt`` for template questions.
        writer: requests questions from a model, too.
        progress: called with finished documents, all documents, and the name of the next.

    Raises:
        ValueError: no document can be read, or none gives a pair, or a target holds something else.
        BlockingIOError: another process writes the target.
        ServerError: the writer's server failed; the documents so far are kept, and the same call resumes.
    """
    from mmrag.documents import ReaderSettings

    target = Path(target)
    valid = Path(valid) if valid is not None else target.with_name(f"{target.stem}.valid.jsonl")
    for path in (target, valid):
        _check_is_ours(path)
    if valid.absolute() == target.absolute():
        raise ValueError(f"the held-out pairs must have a file of their own, got {valid} for both.")
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(str(target) + ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BlockingIOError(
            f"{target} must be written by one process at a time, and another one writes it. Wait for it."
        ) from None
    try:
        run = _Run(
            settings or PairSettings(),
            target,
            valid,
            replace(reader or ReaderSettings(), structure="full"),
            password,
            Prompts(prompts, package=PACKAGE),
            writer,
        )
        return run.run(inputs, progress)
    finally:
        lock.release()


class _Run:
    """One call of `make_pairs`."""

    def __init__(
        self,
        settings: PairSettings,
        target: Path,
        valid: Path,
        reader: ReaderSettings,
        password: Any,  # noqa: ANN401
        prompts: Prompts,
        writer: QuestionWriter | None,
    ) -> None:
        self.settings = settings
        self.target = target
        self.valid = valid
        self.reader = reader
        self.password = password
        self.templates = Templates(prompts)
        self.writer = writer
        self.report = PairReport(target=str(target))
        self.recipe_data = _recipe_data(settings, reader, prompts, writer)
        self.recipe = digest(self.recipe_data)

    @property
    def parts(self) -> Path:
        """Return the folder of the parts."""
        return self.target.with_name(self.target.name + ".parts")

    def run(self, inputs: Any, progress: Progress | None) -> PairReport:  # noqa: ANN401
        """Read the documents, select pairs and write both files."""
        start = time.monotonic()
        documents = self._read(self._discover(inputs), progress)
        selection = self._select(documents)
        if not selection.keep:
            shutil.rmtree(self.parts, ignore_errors=True)
            raise ValueError(
                f"the documents must give at least one pair, got none from {self.report.documents} documents "
                f"with {self.report.pages} pages.{self._skipped_files()}"
            )
        self._write(documents, selection)
        self._write_settings()
        shutil.rmtree(self.parts, ignore_errors=True)
        self.report.dropped += selection.dropped_counts
        self.report.seconds = time.monotonic() - start
        return self.report

    def _select(self, documents: Sequence[InputDocument]) -> Selection:
        sketches = {
            document.source.document_id: sketches_of(self._part(self._file(document)))
            for document in documents
        }
        return select_pairs(sketches, self.settings)

    # ---- reading ---------------------------------------------------------------------------------

    def _discover(self, inputs: Any) -> list[InputDocument]:  # noqa: ANN401
        """Return the documents, each content once, without our own output."""
        from mmrag.documents import Skipped, discover

        documents: dict[str, InputDocument] = {}
        for document in discover(inputs):
            if isinstance(document, Skipped):
                if not self._is_output(document.name):
                    self.report.skipped.append((document.name, document.reason))
                continue
            source = document.source
            if source.sha256 in documents:
                first = documents[source.sha256].source
                self._skip(source, f"the same file as {first.path or first.name}")
            else:
                documents[source.sha256] = document
        if not documents:
            where = f"{_short(inputs)}.{self._skipped_files()}"
            raise ValueError(f"there must be at least one document to read, got none in {where}")
        return list(documents.values())

    def _is_output(self, name: str) -> bool:
        path = str(Path(name).absolute())
        return any(path.startswith(str(file.absolute())) for file in (self.target, self.valid))

    def _skipped_files(self) -> str:
        """Return a sentence on the files that were skipped, or ``""``."""
        reasons = "; ".join(f"{where}: {reason}" for where, reason in self.report.skipped[:5])
        more = len(self.report.skipped) - 5
        return f" Skipped: {reasons}{f'; and {more} more' if more > 0 else ''}." if reasons else ""

    def _read(self, documents: Sequence[InputDocument], progress: Progress | None) -> list[InputDocument]:
        """Read the documents that no earlier run has read, and return the readable ones."""
        from mmrag.documents import DocumentReader

        readable: list[InputDocument] = []
        with DocumentReader(self.reader, password=self.password) as reader:
            for number, document in enumerate(documents):
                if progress is not None:
                    progress(number, len(documents), document.source.name)
                part = self._load_or_read(reader, document)
                if part is not None:
                    readable.append(document)
                    self._count(part)
        if progress is not None:
            progress(len(documents), len(documents), "")
        return readable

    def _load_or_read(self, reader: DocumentReader, document: InputDocument) -> Part | None:
        """Load the part of an earlier run, or read and save it; None if the document cannot be read."""
        file, source = self._file(document), document.source
        part = load_part(file, self.recipe, source.path)
        if part is not None:
            self.report.resumed += 1
            return part
        try:
            part = read_document(reader, document, self.settings, self.templates, self.writer)
        except DocumentError as error:
            self._skip(source, str(error).removeprefix(f"{source.name}: "))
            return None
        part.save(file, self.recipe)
        return part

    def _skip(self, source: Source, reason: str) -> None:
        self.report.skipped.append((source.path or source.name, reason))

    def _count(self, part: Part) -> None:
        report, counts = self.report, part.counts.copy()
        report.documents += 1
        report.pages += len(part.items)
        report.running_headers += counts.pop("furniture")
        report.bare += counts.pop("bare")
        report.dropped.update(counts)
        report.skipped += part.skipped
        report.usage += part.usage
        report.notes.update(part.notes)

    def _file(self, document: InputDocument) -> Path:
        return self.parts / f"{document.source.sha256}.json"

    def _part(self, file: Path) -> Part:
        part = load_part(file)
        if part is None:
            raise ValueError(f"{file} must be kept until the run is finished, and is gone. Run it again.")
        return part

    # ---- writing ---------------------------------------------------------------------------------

    def _write(self, documents: Sequence[InputDocument], selection: Selection) -> None:
        """Write both files, whole or not at all; delete the validation file if nothing is held out."""
        report = self.report
        files = {document.source.document_id: self._file(document) for document in documents}
        part_of = lru_cache(maxsize=8)(lambda document_id: self._part(files[document_id]))
        held_out = [id for id in files if id in selection.held_out]
        training = [id for id in files if id not in selection.held_out]
        sides = ((self.valid, report.validation, held_out), (self.target, report.training, training))
        with ExitStack() as stack:
            for path, counts, ids in sides:
                file = stack.enter_context(atomic_write(path, "wb"))
                for record in chain.from_iterable(self._records(id, selection, part_of) for id in ids):
                    counts[record["query"]["rule"]] += 1
                    file.write(encode_record(record))
        report.held_out = [
            doc.source.name for doc in documents if doc.source.document_id in selection.held_out
        ]
        if not report.validation:
            self.valid.unlink(missing_ok=True)
        report.valid = str(self.valid) if report.validation else None

    def _write_settings(self) -> None:
        """Write all that decided on the pairs, next to the target."""
        selection = {name: getattr(self.settings, name) for name in SELECTION_SETTINGS}
        data = {**self.recipe_data, "chosen by": selection, "held out": self.report.held_out}
        with atomic_write(self.target.with_name(self.target.name + ".meta.json")) as file:
            file.write(json.dumps({"recipe": self.recipe, "made": data}, indent=2, ensure_ascii=False) + "\n")

    def _item(self, item: dict[str, Any]) -> dict[str, Any]:
        return item if self.settings.texts else {**item, "text": None}

    def _item_of(self, page_id: str, part_of: Callable[[str], Part]) -> dict[str, Any]:
        part = part_of(page_id.rpartition("#")[0])
        return next(self._item(page) for page in part.items if page["id"] == page_id)

    def _records(
        self, document_id: str, selection: Selection, part_of: Callable[[str], Part]
    ) -> Iterator[dict[str, Any]]:
        """Yield the records of a document.

        Args:
            document_id: of the document.
            selection: which of its pairs to write.
            part_of: returns the part of any document by its id.
        """
        part = part_of(document_id)
        for page, pairs in zip(part.items, part.pairs, strict=True):
            for position in selection.keep.get(page["id"], ()):
                pair = pairs[position]
                id = f"{page['id']}/{pair['rule']}-{digest(pair['text'])[:8]}"
                also_relevant = selection.removed.get((page["id"], position), [])
                yield {
                    "format": FORMAT,
                    "recipe": self.recipe,
                    "query": {"id": id, "image": None, "labelled": [page["id"]], **pair},
                    "positives": [{**self._item(page), "boxes": pair["boxes"]}],
                    "negatives": [],
                    "removed": [
                        {**self._item_of(id, part_of), "reason": reason} for id, reason in also_relevant
                    ],
                    "doubtful": [],
                    "skipped": "",
                }


def _recipe_data(
    settings: PairSettings, reader: ReaderSettings, prompts: Prompts, writer: QuestionWriter | None
) -> dict[str, Any]:
    """Return all that decides on the pairs of one document, as plain data."""
    return {
        "version": VERSION,
        "settings": settings.of_pages,
        "reader": reader.fingerprint(),
        "templates": prompts.digest(["templates"]),
        "asked": None if writer is None else writer.recipe(),
    }


def _check_is_ours(path: Path) -> None:
    """Refuse to overwrite anything but a file of pairs."""
    if path.is_dir():
        raise ValueError(f"the pairs must go to a file, got the folder {path}.")
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(9)
        if head and head != b'{"format"':
            raise ValueError(
                f"{path} must be a file of pairs or not exist, got one that begins with {head!r}. "
                "Choose another name."
            )


def _short(inputs: object) -> str:
    names = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    text = ", ".join(map(str, names))
    return repr(text if len(text) <= 120 else text[:100] + "...")
