"""Rank metrics against ir-measures, which runs trec_eval; `make test-references` has it."""

import numpy as np
import pytest

from mmrag.evaluation.metrics import METRICS, ranking_of

ir_measures = pytest.importorskip("ir_measures")
pytest.importorskip("pytrec_eval")

NAMES = {"ndcg": "nDCG", "recall": "R", "mrr": "RR", "map": "AP", "hit": "Success"}


def test_metrics_equal_ir_measures_on_runs_with_ties():
    """300 questions, scores of eight values, grades 0 to 3, and documents that nobody ranked."""
    rng = np.random.default_rng(0)
    items = [f"p{number}" for number in range(60)]
    qrels, run = {}, {}
    for number in range(300):
        ranked = rng.choice(items, 40, replace=False)
        chosen = rng.choice(items, int(rng.integers(1, 10)), replace=False)
        run[f"q{number}"] = {str(item): float(rng.integers(0, 8)) / 4 for item in ranked}
        qrels[f"q{number}"] = {str(item): int(rng.integers(0, 4)) for item in chosen} | {str(chosen[0]): 1}
    for score in (1.0, 1.0 - 1e-9):  # equal as 32-bit floats, told apart by their ids
        run["q0"][f"p{score == 1.0:d}"] = score
    for name, metric in METRICS.items():
        kind, cut = name.split("@")
        # RR with a cut is another provider's, which breaks ties another way; trec_eval's has none
        measure = ir_measures.parse_measure("RR" if kind == "mrr" else f"{NAMES[kind]}@{cut}")
        theirs = {one.query_id: one.value for one in ir_measures.iter_calc([measure], qrels, run)}
        if kind == "mrr":
            theirs = {query: value if value >= 1 / int(cut) else 0 for query, value in theirs.items()}
        assert len(theirs) == 300
        for query, value in theirs.items():
            assert metric(ranking_of(run[query]), qrels[query]) == pytest.approx(value, abs=1e-9), name
