"""MMLongBench-Doc, CiteVQA and T2-RAGBench: files, questions with pages or boxes, answers.

Read where, and how certain:

* MMLongBench-Doc: ``data/samples.json`` with ``data/documents/*.pdf`` (its repository), or
  ``data/*.parquet`` with ``documents/*.pdf`` (the hub): ``doc_id`` (a file name), ``question``, ``answer``,
  ``answer_format`` (Str, Int, Float, List, None), ``evidence_pages`` (``"[3, 5]"``, from 1),
  ``evidence_sources`` (``"['Chart']"``). "Not answerable" is an answer. From many readers: certain.
* CiteVQA: ``data/validation/CiteVQA.json`` with ``data/pdf/*.pdf``, which its download script fills:
  ``index``, ``Question``, ``Standard_Answer``, ``PDF_Source`` and ``Evidence``, a list of ``type``,
  ``bbox``, ``source_pdf_name``, ``source_page_id`` (from 1) and ``necessity``. Files from its README:
  certain. The order of ``bbox`` (top, left, bottom, right, in thousandths of the page) and ``"necessary"``
  from one reader and its test: likely.
* T2-RAGBench: ``data/FinQA/test/metadata.jsonl`` and the like for TAT-DQA, ``data/ConvFinQA/turn_0.jsonl``:
  ``id``, ``context_id``, ``question``, ``program_answer``, ``original_answer``, ``context`` (Markdown),
  ``file_name`` (a PDF beside ``metadata.jsonl``). From several readers: certain. ConvFinQA has no files of
  its own.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmrag.evaluation.datasets.rows import Row, Source, read_rows, texts_of
from mmrag.evaluation.datasets.writer import BoxData, PackWriter
from mmrag.evaluation.pack import WHOLE, PageKey

_NOT_ANSWERABLE = "not answerable"
_NECESSARY = "necessary"
_THOUSANDTHS = [1000, 1000]


def read_mmlongbench(source: Source, writer: PackWriter) -> None:
    """Write PDFs and questions, those that are not answerable too."""
    folder = source.path("data/documents", "documents")
    samples = source.folder / "data" / "samples.json"
    rows = read_rows(samples) if samples.is_file() else source.rows("data")
    for number, row in enumerate(rows):
        document = str(row["doc_id"])
        name = _file(document, folder, writer)
        if not name:
            continue
        answer, form = str(row["answer"]).strip(), str(row.get("answer_format") or "")
        answerable = answer.lower() != _NOT_ANSWERABLE
        pages = _literal(row["evidence_pages"]) if answerable else []
        writer.add_question(
            number,
            str(row["question"]),
            {(name, int(page) - 1): 1 for page in pages},
            docs=[name],
            answerable=answerable,
            answers=[answer] if answerable else [],
            answer_format=form,
            answer_items=list(texts_of(_literal(answer))) if answerable and form == "List" else [],
            evidence_types=list(texts_of(_literal(row.get("evidence_sources") or "[]"))),
            kind=str(row.get("doc_type") or ""),
            written_by="human annotators",
        )


def read_citevqa(source: Source, writer: PackWriter) -> None:
    """Write PDFs, questions, pages and boxes of the evidence without which the answer does not follow."""
    path = source.path(f"data/{source.split}/CiteVQA.json", "CiteVQA.json")
    folder = source.path("data/pdf", "pdf")
    for row in read_rows(path):
        files = [_file(Path(str(name)).name, folder, writer) for name in row["PDF_Source"]]
        if not all(files):
            continue
        evidence = [item for item in row["Evidence"] or () if _is_placed(item, writer)]
        crucial = [item for item in evidence if item.get("necessity", _NECESSARY) == _NECESSARY] or evidence
        keys = {_cited_page(item, writer): 1 for item in crucial}
        writer.add_question(
            row["index"],
            str(row["Question"]),
            keys,
            docs=files,
            boxes=[box for item in crucial for box in _cited_box(item, writer)],
            answers=list(texts_of(row["Standard_Answer"])),
            answer_format="Free",  # judged by a model there: a match of strings would be too low a bound
            evidence_types=sorted({str(item["type"]) for item in crucial if item.get("type")}),
            kind=str(row.get("dataset_type") or ""),
        )


def read_t2_ragbench(source: Source, writer: PackWriter) -> None:
    """Write a PDF for each context, or its Markdown where a part of the benchmark came without PDFs."""
    parts = [
        path
        for pattern in (f"data/*/{source.split}/metadata.jsonl", "data/*/turn_0.jsonl")
        for path in sorted(source.folder.glob(pattern))
    ]
    if not parts:
        raise source.missing_error(f"data/FinQA/{source.split}/metadata.jsonl")
    for path in parts:
        subset = path.relative_to(source.folder / "data").parts[0]
        has_files = next(path.parent.rglob("*.pdf"), None) is not None
        for row in read_rows(path):
            context = f"{subset}/{row['context_id']}"
            if context not in writer:
                if not has_files:
                    writer.add_text(context, str(row["context"]), suffix=".md")
                else:
                    _file(str(row["file_name"]), path.parent, writer, document=context)
            if context in writer:
                writer.add_question(
                    f"{subset}/{row['id']}",
                    str(row["question"]),
                    {(writer.name(context), WHOLE): 1},
                    answers=list(dict.fromkeys(_answers(row))),
                    kind=subset,
                )


def _file(name: str, folder: Path, writer: PackWriter, *, document: str = "") -> str:
    """Write a file once and return its name in the pack; ``""`` where it is missing, which is counted."""
    document = document or name
    if document in writer:
        return writer.name(document)
    if not (folder / name).is_file():
        writer.summary.skipped["question whose file is missing"] += 1
        return ""
    return writer.add_file(document, folder / name)


def _literal(value: object) -> list[Any]:
    """Return a list, or one that is written as Python writes it; anything else is one item."""
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return [value]
    return list(value) if isinstance(value, list | tuple) else [value]


def _is_placed(evidence: Row, writer: PackWriter) -> bool:
    """Check whether a piece of evidence has a page, in a file that is there."""
    return evidence.get("source_page_id") is not None and Path(evidence["source_pdf_name"]).name in writer


def _cited_page(evidence: Row, writer: PackWriter) -> PageKey:
    return writer.name(Path(str(evidence["source_pdf_name"])).name), int(evidence["source_page_id"]) - 1


def _cited_box(evidence: Row, writer: PackWriter) -> Iterator[BoxData]:
    top, left, bottom, right = (min(max(float(edge), 0.0), 1000.0) for edge in evidence["bbox"])
    name, page = _cited_page(evidence, writer)
    if left < right and top < bottom:
        yield {"doc": name, "page": page, "page_size": _THOUSANDTHS, "bbox": [left, top, right, bottom]}
    else:
        writer.summary.skipped["box without an area"] += 1


def _answers(row: Row) -> Iterator[str]:
    for name in ("program_answer", "original_answer"):
        yield from texts_of(row.get(name))
