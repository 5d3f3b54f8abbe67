"""The run: read every document, choose over all of them, write both files in one piece.

Each document that has been read is kept in ``<target>.parts/`` until the run is done, so a run that was cut
off reads only the others. The same files and settings give the same bytes.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from mmrag.errors import DocumentError
from mmrag.serving.prompts import Prompts
from mmrag.training.mining.records import FORMAT
from mmrag.training.pairs.read import Part, load_part, read_document
from mmrag.training.pairs.report import PairReport
from mmrag.training.pairs.rules import PACKAGE, Templates
from mmrag.training.pairs.select import Chosen, PageSketch, select_pairs, sketches_of
from mmrag.training.pairs.settings import VERSION, PairSettings, digest

if TYPE_CHECKING:
    from mmrag.documents import InputDocument, ReaderSettings
    from mmrag.training.pairs.question_writer import QuestionWriter

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
        target: JSON lines, see `mmrag.training.mining.records`; each query has ``rule``, ``boxes`` and
        ``source``, too.
        valid: where the pairs of held-out documents go; None: ``<target's stem>.valid.jsonl`` beside it.
        settings: see `PairSettings`.
        reader: how documents are read.
        password: for encrypted documents.
        prompts: a folder whose ``templates.txt`` words the template questions.
        writer: asks a model for questions, too.
        progress: called with documents done, all documents, and the name of the next.

    Raises:
        ValueError: no document can be read, or none gives a pair, or a target holds something else.
        BlockingIOError: another process writes the target.
        ServerError: the writer's server failed; the documents before are kept, and the same call goes on.
    """
    settings = settings or PairSettings()
    target = Path(target)
    valid = Path(valid) if valid is not None else target.with_name(f"{target.stem}.valid.jsonl")
    for path in (target, valid):
        _check_ours(path)
    if valid.absolute() == target.absolute():
        raise ValueError(f"the held-out pairs must have a file of their own, got {valid} for both.")
    target.parent.mkdir(parents=True, exist_ok=True)
    valid.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(str(target) + ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BlockingIOError(
            f"{target} must be written by one process at a time, and another one writes it. Wait for it."
        ) from None
    try:
        run = _Run(settings, target, valid, reader, password, Prompts(prompts, package=PACKAGE), writer)
        return run.all(inputs, progress)
    finally:
        lock.release()


class _Run:
    """One call of `make_pairs`."""

    def __init__(
        self,
        settings: PairSettings,
        target: Path,
        valid: Path,
        reader: ReaderSettings | None,
        password: Any,  # noqa: ANN401
        prompts: Prompts,
        writer: QuestionWriter | None,
    ) -> None:
        from mmrag.documents import ReaderSettings

        self.settings = settings
        self.target = target
        self.valid = valid
        self.reader = reader or ReaderSettings()
        self.password = password
        self.templates = Templates(prompts)
        self.writer = writer
        self.parts = target.with_name(target.name + ".parts")
        self.report = PairReport(target=str(target))
        self.made = {
            "version": VERSION,
            "settings": settings.of_pages,
            "reader": self.reader.fingerprint(),
            "templates": prompts.digest(["templates"]),
            "asked": None if writer is None else writer.made(),
        }
        self.recipe = digest(self.made)

    def all(self, inputs: Any, progress: Progress | None) -> PairReport:  # noqa: ANN401
        started = time.monotonic()
        found = self._found(inputs)
        kept = self._read(found, progress)
        documents = {one.source.document_id: self._sketched(one) for one in kept}
        chosen = select_pairs(documents, self.settings)
        if not chosen.keep:
            shutil.rmtree(self.parts, ignore_errors=True)
            raise ValueError(
                f"the documents must give at least one pair, got none from {self.report.documents} documents "
                f"with {self.report.pages} pages.{self._why_none()}"
            )
        self._write(kept, chosen)
        shutil.rmtree(self.parts, ignore_errors=True)
        self.report.dropped += chosen.dropped
        self.report.seconds = time.monotonic() - started
        return self.report

    def _found(self, inputs: Any) -> list[InputDocument]:  # noqa: ANN401
        """Documents, each content once, those of our own output aside."""
        from mmrag.documents import Skipped, discover

        found: dict[str, InputDocument] = {}
        for one in discover(inputs):
            if isinstance(one, Skipped):
                if not self._is_ours(one.name):
                    self.report.skipped.append((one.name, one.reason))
            elif one.source.sha256 in found:
                first = found[one.source.sha256].source
                self.report.skipped.append(
                    (one.source.path or one.source.name, f"the same file as {first.path or first.name}")
                )
            else:
                found[one.source.sha256] = one
        if not found:
            where = f"{_shown(inputs)}.{self._why_none()}"
            raise ValueError(f"there must be at least one document to read, got none in {where}")
        return list(found.values())

    def _is_ours(self, name: str) -> bool:
        path = Path(name).absolute()
        own = (self.target, self.valid)
        return any(str(path).startswith(str(one.absolute())) for one in own)

    def _why_none(self) -> str:
        listed = "; ".join(f"{where}: {reason}" for where, reason in self.report.skipped[:5])
        more = len(self.report.skipped) - 5
        return f" Skipped: {listed}{f'; and {more} more' if more > 0 else ''}." if listed else ""

    def _read(self, found: Sequence[InputDocument], progress: Progress | None) -> list[InputDocument]:
        """Read what no earlier run has read; those documents that can be."""
        from mmrag.documents import DocumentReader

        self.parts.mkdir(parents=True, exist_ok=True)
        kept: list[InputDocument] = []
        with DocumentReader(self.reader, password=self.password) as reader:
            for place, one in enumerate(found):
                if progress is not None:
                    progress(place, len(found), one.source.name)
                file = self._file(one)
                part = load_part(file, self.recipe, one.source.path)
                if part is not None:
                    self.report.resumed += 1
                else:
                    try:
                        part = read_document(reader, one, self.settings, self.templates, self.writer)
                    except DocumentError as error:
                        reason = str(error).removeprefix(f"{one.source.name}: ")
                        self.report.skipped.append((one.source.path or one.source.name, reason))
                        continue
                    part.save(file, self.recipe)
                kept.append(one)
                self._count(part)
        if progress is not None:
            progress(len(found), len(found), "")
        return kept

    def _count(self, part: Part) -> None:
        report = self.report
        report.documents += 1
        report.pages += len(part.items)
        report.furniture += part.counts["furniture"]
        report.bare += part.counts["bare"]
        report.dropped.update({why: n for why, n in part.counts.items() if why not in ("furniture", "bare")})
        report.skipped += part.skipped
        report.usage += part.usage

    def _file(self, one: InputDocument) -> Path:
        return self.parts / f"{one.source.sha256}.json"

    def _part(self, file: Path) -> Part:
        part = load_part(file)
        if part is None:
            raise ValueError(f"{file} must be there until the run is done, and is gone. Run it again.")
        return part

    def _sketched(self, one: InputDocument) -> list[PageSketch]:
        return sketches_of(self._part(self._file(one)))

    # ---- writing ---------------------------------------------------------------------------------

    def _write(self, kept: Sequence[InputDocument], chosen: Chosen) -> None:
        """Both files, each whole or not at all; the held-out one is gone where nothing is held out."""
        files = {one.source.document_id: self._file(one) for one in kept}
        cached = lru_cache(maxsize=8)(self._part)

        def item(page_id: str) -> dict[str, Any]:
            part = cached(files[page_id.rpartition("#")[0]])
            return next(self._item(one) for one in part.items if one["id"] == page_id)

        sides: list[tuple[Path, Any, bool]] = [
            (self.valid, self.report.validation, True),
            (self.target, self.report.training, False),
        ]
        written: list[tuple[Path, Path]] = []
        try:
            for path, counts, held in sides:
                mine = [one for one in kept if (one.source.document_id in chosen.held_out) == held]
                if held:
                    self.report.held_out = [one.source.name for one in mine]
                beside = path.with_name(path.name + ".part")
                written.append((beside, path))
                with beside.open("wb") as file:
                    for one in mine:
                        for line in self._lines(cached(self._file(one)), chosen, item):
                            counts[line["query"]["rule"]] += 1
                            _append(file, line)
                    file.flush()
                    os.fsync(file.fileno())
            self._place(written)
        finally:
            for beside, _ in written:
                beside.unlink(missing_ok=True)

    def _place(self, written: Sequence[tuple[Path, Path]]) -> None:
        for beside, path in written:
            if path == self.valid and not self.report.validation:
                path.unlink(missing_ok=True)
            else:
                beside.replace(path)
        self.report.valid = str(self.valid) if self.report.validation else None
        choosing = {name: getattr(self.settings, name) for name in ("common", "alike", "hold_out", "texts")}
        made = {**self.made, "chosen by": choosing, "held out": self.report.held_out}
        meta = self.target.with_name(self.target.name + ".meta.json")
        meta.write_text(
            json.dumps({"recipe": self.recipe, "made": made}, indent=2, ensure_ascii=False) + "\n",
            encoding="utf-8",
        )

    def _item(self, item: dict[str, Any]) -> dict[str, Any]:
        return item if self.settings.texts else {**item, "text": None}

    def _lines(
        self, part: Part, chosen: Chosen, item: Callable[[str], dict[str, Any]]
    ) -> Iterator[dict[str, Any]]:
        for own, pairs in zip(part.items, part.pairs, strict=True):
            for place in chosen.keep.get(own["id"], ()):
                pair = pairs[place]
                id = f"{own['id']}/{pair['rule']}-{digest(pair['text'])[:8]}"
                others = chosen.removed.get((own["id"], place), [])
                yield {
                    "format": FORMAT,
                    "recipe": self.recipe,
                    "query": {"id": id, "image": None, "labelled": [own["id"]], **pair},
                    "positives": [{**self._item(own), "boxes": pair["boxes"]}],
                    "negatives": [],
                    "removed": [{**item(other), "reason": reason} for other, reason in others],
                    "doubtful": [],
                    "skipped": "",
                }


def _append(file: IO[bytes], line: dict[str, Any]) -> None:
    text = json.dumps(line, ensure_ascii=False) + "\n"
    file.write(text.encode("utf-8", errors="backslashreplace"))


def _check_ours(path: Path) -> None:
    """Refuse to write over something that is no file of pairs."""
    if path.is_dir():
        raise ValueError(f"the pairs must go to a file, got the folder {path}.")
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(9)
        if head and head != b'{"format"':
            raise ValueError(
                f"{path} must be a file of pairs or not there, got one that begins with {head!r}. "
                "Choose another name."
            )


def _shown(inputs: object) -> str:
    named = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    text = ", ".join(str(one) for one in named)
    return repr(text if len(text) <= 120 else text[:100] + "...")
