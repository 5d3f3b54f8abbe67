"""DocVQA, InfographicVQA and MP-DocVQA: pictures of pages, questions, accepted answers.

Read where, and how certain:

* The authors' own files (the Robust Reading Competition's downloads): ``val_v1.0_withQT.json`` with
  pictures in ``documents/``; ``infographicsVQA_val_v1.0_withQT.json`` with pictures in
  ``infographicsvqa_images/``; for MP-DocVQA ``val.json`` (``doc_id``, ``page_ids``, ``answer_page_idx``,
  ``answers``) with pictures in ``images/``, named by page. A list of rows under ``data``. From many readers
  of them: certain; for the folders of pictures, which everybody unpacks in his own way, any place below the
  copy's folder will do.
* The hub's copies: ``lmms-lab/DocVQA`` has ``DocVQA/`` and ``InfographicVQA/``, ``lmms-lab/MP-DocVQA`` has
  ``data/``, in Parquet, with ``image`` or ``image_1`` to ``image_20``; in the latter lists are texts like
  ``"['p0', 'p1']"``. From readers of them: certain.

Answers of the test parts are secret; their questions can still be searched for, but for those of MP-DocVQA,
whose page is secret too.
"""

from __future__ import annotations

import ast
import hashlib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmrag.evaluation.datasets.rows import Row, Source, read_rows, texts_of, value_of
from mmrag.evaluation.datasets.writer import PackWriter

MOST_PAGES = 20
"""Of a document of MP-DocVQA in the hub's copy."""


def read_docvqa(source: Source, writer: PackWriter) -> None:
    """Write pages once each; a question's documents are all pages of its document that are there."""
    _read_single(source, writer, "DocVQA", f"{_short(source)}_v1.0*.json")


def read_infographicvqa(source: Source, writer: PackWriter) -> None:
    """Write infographics once each."""
    _read_single(source, writer, "InfographicVQA", f"infographic*VQA_{_short(source)}_v1.0*.json")


def read_mp_docvqa(source: Source, writer: PackWriter) -> None:
    """Write pages once each; a question's documents are the pages it is asked of."""
    if source.has("data"):
        for row in source.rows("data"):
            pages = [str(page) for page in _list(row["page_ids"])]
            images = {page: row[f"image_{number}"] for number, page in enumerate(pages[:MOST_PAGES], 1)}
            _add_of_pages(row, pages, images, writer)
        return
    pictures = _Pictures(source)
    for row in read_rows(source.path(f"{_short(source)}.json")):
        pages = [str(page) for page in _list(row["page_ids"])]
        _add_of_pages(row, pages, {page: pictures.read(page) for page in pages}, writer)


def _read_single(source: Source, writer: PackWriter, table: str, pattern: str) -> None:
    """Write rows of one page each, from the hub's table or the authors' file."""
    annotations = sorted(source.folder.glob(pattern))
    if source.has(table) or not annotations:
        rows, pictures = source.rows(table), None
    else:
        rows, pictures = read_rows(annotations[-1]), _Pictures(source)  # with question types, if there
    lines: list[tuple[Row, str]] = []
    pages: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        image = row.pop("image", None) or row.get("image_local_name")
        data = image["bytes"] if isinstance(image, dict) else None
        if data is None and pictures is not None:
            data = pictures.read(str(image))
        document = hashlib.sha256(data or b"").hexdigest()[:16]
        if document not in writer:
            name = writer.add_picture(document, data, **_facts(row))
            pages[str(row.get("ucsf_document_id") or document)].append(name)
        lines.append((row, document))
    for row, document in lines:
        writer.add_question(
            value_of(row, "questionId", "question_id"),
            str(row["question"]),
            {(writer.name(document), 0): 1},
            docs=pages[str(row.get("ucsf_document_id") or document)],
            answers=list(texts_of(row.get("answers"))),
            evidence_types=list(texts_of(row.get("question_types"))),
            image_only_evidence=True,
            written_by="human annotators",
        )


def _add_of_pages(row: Row, pages: list[str], images: Mapping[str, Any], writer: PackWriter) -> None:
    for number, page in enumerate(pages):
        if page not in writer:
            writer.add_picture(page, images[page], doc=str(row["doc_id"]), page=number)
    names = [writer.name(page) for page in pages]
    position = row.get("answer_page_idx")
    answer = None if position in (None, "") else int(position)
    writer.add_question(
        value_of(row, "questionId", "question_id"),
        str(row["question"]),
        {} if answer is None else {(names[answer], 0): 1},
        docs=names,
        answers=list(texts_of(_list(row.get("answers") or []))),
        image_only_evidence=True,
        written_by="human annotators",
    )


class _Pictures:
    """The pictures below a folder, by file name with or without its ending."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._paths: dict[str, Path] = {}
        for path in sorted(source.folder.rglob("*")):
            if path.suffix.lower() in (".png", ".jpg", ".jpeg"):
                self._paths |= {path.name: path, path.stem: path}

    def read(self, name: str) -> bytes:
        """Return the bytes of a picture that an annotation names."""
        path = self._paths.get(Path(name).name)
        if path is None:
            raise self._source.missing_error(name)
        return path.read_bytes()


def _facts(row: Row) -> dict[str, object]:
    names = ("ucsf_document_id", "ucsf_document_page_no", "image_url")
    return {name: row[name] for name in names if row.get(name)}


def _short(source: Source) -> str:
    return "val" if source.split == "validation" else source.split


def _list(value: object) -> list[object]:
    """Return a list, or one that is written as Python writes it."""
    content = ast.literal_eval(value) if isinstance(value, str) else value
    if not isinstance(content, list | tuple):
        raise ValueError(f"page_ids and answers must be lists, got {value!r}.")
    return list(content)
