"""BEIR: texts, and questions with graded judgements.

Layout: ``corpus.jsonl`` (``_id``, ``title``, ``text``), ``queries.jsonl`` (``_id``, ``text``) and
``qrels/test.tsv`` (``query-id``, ``corpus-id``, ``score``, with a head), as in the archives of its authors
and in what `beir.datasets.data_loader` of beir-cellar/beir reads: certain. The hub's copies have the same
columns in Parquet (``corpus/``, ``queries/``, and the judgements in a data set of their own, ``...-qrels``,
to be put into ``qrels/``).
"""

from __future__ import annotations

from collections import defaultdict

from mmrag.evaluation.datasets.rows import Source, value_of
from mmrag.evaluation.datasets.writer import PackWriter
from mmrag.evaluation.pack import WHOLE, PageKey


def read_beir(source: Source, writer: PackWriter) -> None:
    """Write each text as a file that begins with its title; whole files are the evidence."""
    judgements: dict[str, dict[str, int]] = defaultdict(dict)
    for row in source.rows("qrels"):
        judgements[str(value_of(row, "query-id"))][str(value_of(row, "corpus-id"))] = int(row["score"])
    queries = {str(value_of(row, "_id", "id")): str(row["text"]) for row in source.rows("queries")}
    for row in source.rows("corpus"):
        title, text = (str(row.get(name) or "").strip() for name in ("title", "text"))
        writer.add_text(str(value_of(row, "_id", "id")), "\n\n".join(filter(None, (title, text))))
    for number, grades in judgements.items():
        if number not in queries:
            writer.summary.skipped["judgement of an unknown question"] += 1
            continue
        keys: dict[PageKey, int] = {
            (writer.name(document), WHOLE): grade for document, grade in grades.items() if document in writer
        }
        if len(keys) < len(grades):
            writer.summary.skipped["judgement of an unknown document"] += len(grades) - len(keys)
        writer.add_question(number, queries[number], keys)
