"""What a second look finds, on questions with several evidence pages: nDCG@5 and recall@10, with and without.

    mmrag serve MODEL --mode answer --port 8000          # in another shell
    python benchmarks/look_again.py PACK --index DIR --server http://127.0.0.1:8000 --to FILE

PACK is an evaluation pack (``docs/evaluation-pack.md``), DIR an index of its documents, opened for reading.
Each question is searched with the default reranker, and again with ``look_again``: where no page is judged
to help, MODEL writes further queries. Questions are one line each in FILE as they come, and the same command
resumes. ``--small`` takes three questions.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from mmrag import DocumentQA, Ranking
from mmrag.answer.served.answerer import ServedAnswerer
from mmrag.evaluation import PairedTest, load_pack, paired_test
from mmrag.evaluation.metrics import ndcg, recall
from mmrag.evaluation.pack import Question

DEPTH = 10


def figures(ranking: Ranking, question: Question) -> dict[str, float]:
    """Return the measures of one ranking."""
    pages = [(one.page.source.name, one.page.number) for one in ranking if one.page is not None]
    return {"ndcg@5": ndcg(pages, question.evidence, 5), "recall@10": recall(pages, question.evidence, 10)}


def measure(qa: DocumentQA, question: Question, most: int) -> dict[str, Any]:
    """Return the line of one question: both rankings' measures, the notes of the second, its tokens."""
    first = qa.search(question.question, k=DEPTH)
    second = qa.search(question.question, k=DEPTH, look_again=most)
    return {
        "id": question.id,
        "once": figures(first, question),
        "again": figures(second, question),
        "looked": second.usage.requests + second.usage.cache_hits > 0,
        "notes": list(second.notes),
        "prompt_tokens": second.usage.prompt_tokens,
        "completion_tokens": second.usage.completion_tokens,
    }


def report(lines: list[dict[str, Any]]) -> str:
    """Format means and paired changes, over all questions and over those that were looked at again."""
    rows = []
    for name, part in (("all", lines), ("looked again", [line for line in lines if line["looked"]])):
        rows.append(f"{name}: {len(part)} questions")
        for metric in ("ndcg@5", "recall@10") if part else ():
            once, again = (np.array([line[side][metric] for line in part]) for side in ("once", "again"))
            test = paired_test(once, again)
            rows.append(f"  {metric:10} {test.before:.3f} -> {test.after:.3f}  {_change(test)}")
    read, written = (sum(line[key] for line in lines) for key in ("prompt_tokens", "completion_tokens"))
    return "\n".join([*rows, f"tokens read {read:,}, written {written:,}"])


def _change(test: PairedTest) -> str:
    gain = test.gain
    return f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}], p {test.p:.2f}"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pack", type=Path)
    parser.add_argument("--index", type=Path, required=True, help="an index of the pack's documents")
    parser.add_argument("--server", required=True)
    parser.add_argument("--to", type=Path, required=True, help="a line a question")
    parser.add_argument("--most", type=int, default=2, help="further queries at most (2)")
    parser.add_argument("--pages", type=int, default=2, help="least evidence pages of a question (2)")
    parser.add_argument("--limit", type=int, help="most questions, evenly drawn; all")
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    questions = [one for one in load_pack(options.pack).questions if len(one.evidence) >= options.pages]
    limit = 3 if options.small else options.limit or len(questions)
    questions = questions[:: max(len(questions) // limit, 1)][:limit]
    lines = []
    if options.to.exists():
        lines = [json.loads(line) for line in options.to.read_text(encoding="utf-8").splitlines()]
    ids = {line["id"] for line in lines}
    answerer = ServedAnswerer(options.server, images=False)
    with (
        DocumentQA.open(options.index, read_only=True, answerer=answerer) as qa,
        options.to.open("a", encoding="utf-8") as file,
    ):
        for question in questions:
            if question.id not in ids:
                lines.append(measure(qa, question, options.most))
                file.write(json.dumps(lines[-1]) + "\n")
                file.flush()
    print(report(lines))


if __name__ == "__main__":
    main()
