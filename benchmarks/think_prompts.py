"""Which words make a model think to some purpose? Prompts of ``pointwise``, judged on pairs of pages.

    python scripts/make_packs.py OUT                                       # packs of our own, to choose on
    mmrag index OUT/alike/documents --index DIR
    python benchmarks/think_prompts.py OUT/alike --index DIR --server URL --prompts FOLDER ... --think 64

A question gives a page with evidence and the best page found without (as `llm_formats.py`). For the
package's own prompts, and for those of each FOLDER (its files replace the package's of the same name): in
how many pairs the page with evidence is likelier to help, a tie for half; the mean log-odds of both; tokens
written a page. The first line is without a thought. The development pack is for measuring what was chosen,
never for choosing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from llm_formats import log_odds, pair_of
from rerank import sample_questions, subset

from mmrag import DocumentQA
from mmrag.evaluation import load_pack
from mmrag.rerank.reranker import ThinkReranker
from mmrag.types import Ranking


def main() -> int:
    options = arguments()
    questions = sample_questions(subset(load_pack(options.pack)), options.questions, options.seed)
    with DocumentQA.open(options.index, read_only=True, reranker=None) as qa:
        pairs = [pair for question in questions if (pair := pair_of(qa, question, options.words))]
    print(f"{len(pairs)} pairs of {options.pack.name}, {options.think} tokens at most")
    print(f"{'prompts':<24}{'in order':>9}{'odds right':>12}{'wrong':>8}{'written':>9}")
    show("no thought", pairs, options.server, None, 0)
    for folder in [None, *options.prompts]:
        show(folder.name if folder else "the package's", pairs, options.server, folder, options.think)
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pack", type=Path)
    parser.add_argument("--index", type=Path, required=True, help="an index of the pack's documents")
    parser.add_argument("--server", required=True, metavar="URL")
    parser.add_argument("--prompts", type=Path, nargs="*", default=[], metavar="FOLDER")
    parser.add_argument("--think", type=int, default=64, help="tokens (%(default)s)")
    parser.add_argument("--questions", type=int, default=16, help="a pair each (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (%(default)s)")
    parser.add_argument("--words", type=int, default=150, help="of a page (%(default)s)")
    return parser.parse_args()


def show(name: str, pairs: Sequence[Ranking], server: str, prompts: Path | None, think: int) -> None:
    """Judge all pairs with these prompts and print a line."""
    reranker = ThinkReranker(
        server, api_key="", images=False, think_tokens=think, prompts=prompts, timeout=1800.0
    )
    odds: list[tuple[float, float]] = []
    written = 0
    for ranking in pairs:
        result = reranker.rerank(ranking)
        written += result.usage.completion_tokens
        scores = {candidate.id: candidate.verdict.score for candidate in result if candidate.verdict}
        right, wrong = (log_odds(scores[candidate.id]) for candidate in ranking)
        odds.append((right, wrong))
    order = statistics.fmean((right > wrong) + (right == wrong) / 2 for right, wrong in odds)
    means = [statistics.fmean(side) for side in zip(*odds, strict=True)]
    print(
        f"{name:<24}{order:>9.3f}{means[0]:>12.2f}{means[1]:>8.2f}{written / len(pairs) / 2:>9.1f}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
