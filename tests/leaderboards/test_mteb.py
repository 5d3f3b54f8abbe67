"""`mteb` itself, unpatched, on tasks made here; `make test-references` has it."""

import pytest

pytest.importorskip("mteb")
pytest.importorskip("datasets")

import datasets
import mteb
import mteb.abstasks.retrieval as retrieval

from mmrag import Budget, LocalReranker, MiniEmbedder, MLLMEmbedder
from mmrag.evaluation.metrics import METRICS, ranking_of
from mmrag.leaderboards.mteb import MTEBEmbedder, MTEBReranker, document_of
from mmrag.models.tiny import make_tiny
from mmrag.scoring import maxsim

FIGURES = {
    f"{name}@{k}": f"{theirs}_at_{k}"
    for name, theirs in (
        ("ndcg", "ndcg"),
        ("recall", "recall"),
        ("mrr", "mrr"),
        ("map", "map"),
        ("hit", "hit_rate"),
    )
    for k in (1, 5, 10)
}


def make_task(kind, content, first_stage=None):
    """A task of mteb over rows of a corpus and of queries."""
    corpus, queries, relevant = content
    has_images = "image" in corpus[0]

    class Ours(retrieval.AbsTaskRetrieval):
        metadata = mteb.TaskMetadata(
            name=f"Ours{kind}{'Pages' if has_images else 'Texts'}",
            description="Made by a test.",
            reference=None,
            dataset={"path": "ours", "revision": "1"},
            type=kind,
            category="t2i" if has_images else "t2t",
            modalities=["text", "image"] if has_images else ["text"],
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
        )

        def load_data(self, num_proc=None, **options):
            self.dataset = {
                "default": {
                    "test": {
                        "corpus": datasets.Dataset.from_list(corpus),
                        "queries": datasets.Dataset.from_list(queries),
                        "relevant_docs": relevant,
                        "top_ranked": first_stage,
                    }
                }
            }
            self.data_loaded = True

    return Ours()


def scores_of(model, task):
    result = mteb.evaluate(model, task, cache=None, show_progress_bar=False, co2_tracker=False)
    (scores,) = result.task_results[0].scores["test"]
    return scores


def own_scores(embedder, budget, content):
    """Means of our metrics over rankings by late interaction, one query and one document at a time."""
    corpus, queries, relevant = content
    matrices = [embedder.encode_document([document_of(row)])[0][: budget.document] for row in corpus]
    rows = []
    for question in queries:
        query = embedder.encode_query([question["text"]])[0][: budget.query]
        scores = {
            row["id"]: maxsim(query[None], m[None])[0, 0] for row, m in zip(corpus, matrices, strict=True)
        }
        grades = relevant[question["id"]]
        rows.append({name: metric(ranking_of(scores), grades) for name, metric in METRICS.items()})
    return {name: sum(row[name] for row in rows) / len(rows) for name in METRICS}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return MLLMEmbedder.from_pretrained(
        str(make_tiny(tmp_path_factory.mktemp("tiny") / "base")), allow_untrained=True
    )


@pytest.mark.parametrize("budget", [Budget(16, 64), Budget(1, 1)], ids=["multi-vector", "single vector"])
@pytest.mark.parametrize("kind", ["texts", "pages"])
@pytest.mark.parametrize("name", ["mmrag-mini", "mllm"])
def test_mteb_and_our_own_metrics_give_the_same_figures(request, tiny, name, kind, budget):
    embedder = MiniEmbedder(threads=1) if name == "mmrag-mini" else tiny
    content = request.getfixturevalue(kind)
    model = MTEBEmbedder(embedder, budget=budget)
    theirs = scores_of(model, make_task("Retrieval", content))
    mine = own_scores(embedder, budget, content)
    for metric, value in mine.items():
        assert theirs[FIGURES[metric]] == pytest.approx(value, abs=6e-6), metric  # they round to five places


def test_a_reranker_runs_on_a_fixed_first_stage(texts):
    """As the tasks over ViDoRe v3 are laid out: candidates by query, the right ones last."""
    first_stage = {f"q{n}": ["d5", "d2", "d6", "d7", "d3", "d1", "d0"] for n in range(4)}
    task = make_task("Reranking", texts, first_stage)
    model = MTEBReranker(LocalReranker())
    assert isinstance(model, mteb.SearchProtocol)
    assert scores_of(model, task)["mrr_at_10"] == 1
    meta = model.mteb_model_meta
    assert (meta.name, meta.model_type) == ("mmrag/LocalReranker", ["cross-encoder"])


def test_the_embedder_reranks_the_same_first_stage(texts):
    first_stage = {f"q{n}": ["d5", "d2", "d6", "d7", "d3", "d1", "d0"] for n in range(4)}
    model = MTEBEmbedder(MiniEmbedder(threads=1))
    assert isinstance(model, mteb.SearchProtocol)
    assert scores_of(model, make_task("Reranking", texts, first_stage))["hit_rate_at_5"] == 1
    assert model.mteb_model_meta.name == "mmrag/mmrag-mini"
