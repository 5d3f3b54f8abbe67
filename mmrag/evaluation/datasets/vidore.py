"""ViDoRe v1, v2 and v3: pictures of pages, questions, judgements; in v3 boxes and answers.

Read where, and how certain:

* v1, as first published (``vidore/docvqa_test_subsampled`` and nine more): one table, a row a question with
  its page: ``query``, ``image``, ``image_filename``, ``answer``; a row whose query is empty is a page
  alone. From its authors' vidore-benchmark, which counts pages by ``image_filename``: certain.
* v1 with ``_beir``, v2, and what mteb 2.26 loads of them: tables ``corpus`` (``corpus-id``, ``image``, in
  v2 ``doc-id``), ``queries`` (``query-id``, ``query``, in v2 ``language``), ``qrels`` (``query-id``,
  ``corpus-id``, ``score``, in v2 ``answer``). From mteb's tasks: certain, but for ``doc-id`` and
  ``answer``, which may be absent.
* v3: the same tables with underscores; ``corpus`` has ``doc_id``, ``page_number_in_doc`` (from 0) and
  ``markdown``; ``queries`` has ``language``, ``answer``, ``query_generator`` (human, sdg); ``qrels`` has
  ``content_type`` and ``bounding_boxes`` (annotator, x1, y1, x2, y2, in pixels of the picture). From a
  listing of the hub's own schema, and a loader: certain. In the ``_mteb_format`` copies tables are called
  ``english-corpus``, ``english-queries`` (``id``, ``text``), ``english-qrels``, a set a language over the
  same pages: from the same listing.

Published figures: nDCG@5 for v1 and v2, nDCG@10 for v3, a language at a time (the groups ``kind: english``,
...).
"""

from __future__ import annotations

import hashlib
import io
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from mmrag.evaluation.datasets.rows import Row, Source, texts_of, value_of
from mmrag.evaluation.datasets.writer import BoxData, PackWriter
from mmrag.evaluation.pack import PageKey

_QUERY = ("query-id", "query_id")
_CORPUS = ("corpus-id", "corpus_id")


def read_vidore_v1(source: Source, writer: PackWriter) -> None:
    """Write pages once each, and questions of the same words as one."""
    if source.has("qrels"):
        read_pages(source, writer)
        return
    grades: dict[str, dict[PageKey, int]] = defaultdict(dict)
    answers: dict[str, dict[str, None]] = defaultdict(dict)
    for row in source.rows("data"):
        image = row["image"]
        document = str(row.get("image_filename") or hashlib.sha256(image["bytes"]).hexdigest())
        if document not in writer:
            writer.add_picture(document, image)
        query = str(row.get("query") or "").strip()
        if query:  # a row without one is a page that is not asked about
            grades[query][writer.name(document), 0] = 1
            answers[query] |= dict.fromkeys(texts_of(row.get("answer")))
    for number, (query, keys) in enumerate(grades.items()):
        writer.add_question(number, query, keys, answers=list(answers[query]), image_only_evidence=True)


def read_pages(source: Source, writer: PackWriter) -> None:
    """Write the tables ``corpus``, ``queries`` and ``qrels``, in any of the spellings above."""
    names = [name.removesuffix("queries") for name in source.tables("queries")] or [""]
    sizes: dict[str, tuple[int, int]] = {}
    files: dict[str, list[str]] = defaultdict(list)  # of each document
    owners: dict[str, str] = {}
    for row in source.rows(f"{names[0]}corpus"):  # the sets of all languages have the same pages
        document = str(value_of(row, *_CORPUS, "id", "_id"))
        facts = {name: row[name] for name in ("doc-id", "doc_id", "page_number_in_doc") if name in row}
        file = writer.add_picture(document, row["image"], **facts)
        owner = str(facts.get("doc-id") or facts.get("doc_id") or document)
        owners[file] = owner
        files[owner].append(file)
        if "page_number_in_doc" in row:  # only v3 has boxes, in pixels
            sizes[document] = _size(row["image"]["bytes"])
    siblings = {file: files[owner] for file, owner in owners.items()}
    for name in names:
        judgements: dict[str, list[Row]] = defaultdict(list)
        for row in source.rows(f"{name}qrels"):
            judgements[str(value_of(row, *_QUERY))].append(row)
        for row in source.rows(f"{name}queries"):
            _add_question(row, judgements, sizes, siblings, writer)


def _add_question(
    row: Row,
    judgements: Mapping[str, list[Row]],
    sizes: Mapping[str, tuple[int, int]],
    siblings: Mapping[str, list[str]],
    writer: PackWriter,
) -> None:
    number = str(value_of(row, *_QUERY, "id", "_id"))
    relevant = [judgement for judgement in judgements.get(number, ()) if int(judgement["score"]) > 0]
    hits = [judgement for judgement in relevant if _page(judgement) in writer]
    if len(hits) < len(relevant):
        writer.summary.skipped["judgement of an unknown page"] += len(relevant) - len(hits)
    grades = {(writer.name(_page(judgement)), 0): int(judgement["score"]) for judgement in hits}
    answers = dict.fromkeys(texts_of(row.get("answer")))
    for judgement in hits:
        answers |= dict.fromkeys(texts_of(judgement.get("answer")))
    types = {
        kind
        for judgement in hits
        for kind in texts_of(judgement.get("content_type"))
        if not kind.startswith("N/A")
    }
    writer.add_question(
        number,
        str(value_of(row, "query", "text") or ""),
        grades,
        docs={file for page, _ in grades for file in siblings[page]},
        boxes=[box for judgement in hits for box in _boxes(judgement, sizes, writer)],
        answers=list(answers),
        answer_format="Free" if answers else "",  # sentences, which nobody finds again word for word
        evidence_types=sorted(types),
        kind=str(row.get("language") or ""),
        written_by=str(row.get("query_generator") or ""),
        image_only_evidence=True,
    )


def _boxes(row: Row, sizes: Mapping[str, tuple[int, int]], writer: PackWriter) -> Iterator[BoxData]:
    """Yield the boxes of a judgement; the few without an area, which v3 has, are left out."""
    document = _page(row)
    for box in row.get("bounding_boxes") or ():
        width, height = sizes[document]
        left, right = (min(max(box[name], 0), width) for name in ("x1", "x2"))
        top, bottom = (min(max(box[name], 0), height) for name in ("y1", "y2"))
        if left < right and top < bottom:
            position: dict[str, Any] = {"doc": writer.name(document), "page": 0, "page_size": [width, height]}
            yield {**position, "bbox": [left, top, right, bottom]}
        else:
            writer.summary.skipped["box without an area"] += 1


def _page(judgement: Row) -> str:
    return str(value_of(judgement, *_CORPUS))


def _size(data: bytes) -> tuple[int, int]:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        return image.size
