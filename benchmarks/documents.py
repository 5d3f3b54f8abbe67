"""How often the right document comes first, and what the document channel gives the pages, on a pack.

    OMP_NUM_THREADS=1 python benchmarks/documents.py PACK --index DIR

PACK is an evaluation pack (``docs/evaluation-pack.md``), DIR an index of its documents, opened for reading
(``mmrag index PACK/documents --index DIR``). Every answerable question is searched for three times, all pages
and within its documents: without the document channel, with it, and with the local reranker, too. Changes are
paired with the column before, with 95 % bootstrap intervals.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from arguments import index_of, pack_arguments, parse_pack, write_json
from numpy.typing import NDArray

from mmrag import DocumentQA, Ranking, Retriever
from mmrag.evaluation import load_pack
from mmrag.evaluation.metrics import bootstrap_interval, ndcg
from mmrag.evaluation.pack import PageKey, Question

DEPTH = 20
MEASURES = ("nDCG@5, whole pack", "nDCG@5, within document", "right document first", "right document in five")

Search = Callable[..., Ranking]


def pages_of(ranking: Ranking) -> list[PageKey]:
    """Return file name and number of the pages of a ranking."""
    return [(one.page.source.name, one.page.number) for one in ranking if one.page is not None]


def figures(search: Search, question: Question) -> list[float]:
    """Return `MEASURES` of one question."""
    whole = pages_of(search(question.question, k=DEPTH))
    within = pages_of(search(question.question, k=DEPTH, filter={"file_name": {"$in": list(question.docs)}}))
    hits = [name in question.docs for name, _ in whole[:5]]
    return [
        ndcg(whole, question.evidence, 5),
        ndcg(within, question.evidence, 5),
        float(hits[:1] == [True]),
        float(any(hits)),
    ]


def main() -> None:
    """Command line."""
    options = parse_pack(pack_arguments(__doc__))
    questions = [question for question in load_pack(options.pack).questions if question.evidence]
    questions = questions[:3] if options.small else questions
    with index_of(options) as index, DocumentQA.open(index, read_only=True) as qa:
        searches: dict[str, Search] = {
            "no document channel": Retriever(qa.index, qa.embedder, document_weight=0).search,
            "document channel": Retriever(qa.index, qa.embedder).search,
            "and local reranker": qa.search,
        }
        values: dict[str, NDArray[np.float64]] = {
            name: np.array([figures(search, question) for question in questions])
            for name, search in searches.items()
        }
    print(f"{options.pack.name}: {len(questions)} questions")
    before, result = None, {}
    for name, table in values.items():
        print(name)
        for column, measure in enumerate(MEASURES):
            line = f"  {measure:24} {table[:, column].mean():.3f}"
            if before is not None:
                change = table[:, column : column + 1] - before[:, column : column + 1]
                low, high = bootstrap_interval(change)
                line += f"  {change.mean():+.3f} [{low[0]:+.3f}, {high[0]:+.3f}]"
            print(line)
        result[name] = dict(zip(MEASURES, table.mean(0), strict=True))
        before = table
    write_json(options, result)


if __name__ == "__main__":
    main()
