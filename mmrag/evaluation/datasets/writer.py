"""Write a pack: documents under opaque names, questions, and what each document was in the benchmark.

Pages and texts that have no file of their own get numbers for names. A name like ``goldman-sachs-2024.png``
would help a search that reads file names, and the benchmark gives nobody that help.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

from mmrag.evaluation.pack import WHOLE, PageKey

BoxData: TypeAlias = "dict[str, Any]"
"""A box as ``queries.jsonl`` has it."""

_SIGNS = (
    (b"\x89PNG", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"GIF8", ".gif"),
    (b"II*\0", ".tiff"),
    (b"MM\0*", ".tiff"),
    (b"%PDF", ".pdf"),
    (b"BM", ".bmp"),
)


@dataclass(slots=True)
class Summary:
    """What became of a benchmark.

    Attributes:
        path: the pack.
        documents: files written.
        questions: lines written.
        skipped: what was left out and how often, by reason.
    """

    path: Path
    documents: int = 0
    questions: int = 0
    skipped: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        lines = [f"{self.path}: {self.documents} documents, {self.questions} questions"]
        lines += [f"  left out: {count} x {reason}" for reason, count in sorted(self.skipped.items())]
        return "\n".join(lines)


class PackWriter:
    """A pack in the making, as a context manager: it is at `target` when the block ends without an error.

    Beside documents and questions it has ``sources.jsonl``, a line a document: ``file``, and the ``id`` that
    the benchmark knows it by, with what else the benchmark says of it.

    Raises:
        FileExistsError: `target` is there and not an empty folder.
    """

    def __init__(self, target: Path, layout: str) -> None:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise FileExistsError(f"a pack must be a new folder, got {target}, which is there. Name another.")
        self._layout = layout
        self._questions: list[dict[str, Any]] = []
        self._sources: list[dict[str, Any]] = []
        self._names: dict[str, str] = {}
        self.summary = Summary(target)

    def __enter__(self) -> PackWriter:
        target = self.summary.path
        target.parent.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix=f"{target.name}.part-", dir=target.parent))
        self._folder.chmod(0o755)
        (self._folder / "documents").mkdir()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def __contains__(self, document: str) -> bool:
        """Check whether a document of this id was written."""
        return document in self._names

    def name(self, document: str) -> str:
        """Return the file name of the document with this id in the benchmark."""
        return self._names[document]

    def add_picture(self, document: str, image: object, **facts: object) -> str:
        """Write a picture, byte for byte as the benchmark has it, and return its file name.

        Args:
            document: its id in the benchmark.
            image: bytes, or a dictionary with ``bytes``, as Parquet files of the hub hold pictures.
            facts: for ``sources.jsonl``.

        Raises:
            ValueError: no bytes, or not those of a picture.
        """
        data = image.get("bytes") if isinstance(image, Mapping) else image
        if not isinstance(data, bytes):
            raise ValueError(f"the image of {document!r} must be bytes, got {type(data).__name__}.")
        suffix = (
            ".webp" if data[:4] == b"RIFF" else next((s for sign, s in _SIGNS if data.startswith(sign)), "")
        )
        if not suffix:
            raise ValueError(
                f"the image of {document!r} must be a picture, got bytes that begin {data[:8]!r}."
            )
        return self._write(document, data, suffix, facts)

    def add_text(self, document: str, text: str, *, suffix: str = ".txt", **facts: object) -> str:
        """Write a text and return its file name; blank texts are left out, and the name is ``""``."""
        if not text.strip():
            self.summary.skipped["document without a word"] += 1
            return ""
        return self._write(document, text.encode("utf-8", "replace"), suffix, facts)

    def add_file(self, document: str, path: Path, **facts: object) -> str:
        """Take a file, by a hard link where the disk allows one, and return its name."""
        name = self._new_name(path.suffix.lower())
        target = self._folder / "documents" / name
        try:
            os.link(path.resolve(), target)
        except OSError:
            shutil.copyfile(path, target)
        return self._note(document, name, facts)

    def add_question(
        self,
        number: object,
        question: str,
        grades: Mapping[PageKey, int],
        *,
        docs: Iterable[str] = (),
        boxes: Iterable[BoxData] = (),
        **fields: object,
    ) -> None:
        """Write a question; one without words, or that nothing answers, is left out.

        Args:
            number: its id in the benchmark.
            question: the words.
            grades: how relevant each page is; those of 0 and less are none.
            docs: files of the scope "within document", where there are more than those of the evidence; a
                question that is not answerable needs one.
            boxes: around the evidence.
            fields: further ones of ``queries.jsonl``; empty ones are left out.
        """
        evidence = {page: grade for page, grade in grades.items() if grade > 0}
        answerable = fields.get("answerable", True)
        if not question.strip() or bool(evidence) != answerable:
            reason = "question without words" if not question.strip() else "question without evidence"
            self.summary.skipped[reason] += 1
            return
        line: dict[str, Any] = {"id": str(number), "question": question, "answerable": True}
        docs = sorted(set(docs))
        if evidence:
            line["evidence"] = [_evidence(page, grade) for page, grade in sorted(evidence.items())]
        else:
            line |= {"answerable": False, "doc": docs[0], "evidence_pages": []}
        if set(docs) - {doc for doc, _ in evidence}:
            line["docs"] = docs
        details = {"evidence_boxes": list(boxes), "source": self._layout, **fields}
        details = {name: value for name, value in details.items() if value not in ("", [], (), None)}
        self._questions.append(details | line)

    def _write(self, document: str, data: bytes, suffix: str, facts: Mapping[str, object]) -> str:
        name = self._new_name(suffix)
        (self._folder / "documents" / name).write_bytes(data)
        return self._note(document, name, facts)

    def _new_name(self, suffix: str) -> str:
        return f"{len(self._names) + 1:06}{suffix}"

    def _note(self, document: str, name: str, facts: Mapping[str, object]) -> str:
        if document in self._names:
            raise ValueError(f"a document's id must be used once, got {document!r} twice.")
        self._names[document] = name
        self._sources.append({"file": name, "id": document, **facts})
        return name

    def _finish(self) -> None:
        if not self._questions:
            raise ValueError(f"{self.summary.path} must have a question, got none of {self._layout}.")
        twice = [number for number, count in Counter(q["id"] for q in self._questions).items() if count > 1]
        if twice:
            raise ValueError(f"ids of questions must differ, got {twice[0]!r} twice.")
        _write_lines(self._folder / "queries.jsonl", self._questions)
        _write_lines(self._folder / "sources.jsonl", self._sources)
        self.summary.documents, self.summary.questions = len(self._sources), len(self._questions)
        self._folder.replace(self.summary.path)


def _evidence(page: PageKey, grade: int) -> dict[str, object]:
    line: dict[str, object] = {"doc": page[0]} if page[1] == WHOLE else {"doc": page[0], "page": page[1]}
    return line if grade == 1 else {**line, "grade": grade}


def _write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
