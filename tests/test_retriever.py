"""The retriever over the exact index, with vectors of three dimensions that can be read."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from mmrag.embedders.base import EmbedderBase
from mmrag.embedders.mini.embedder import MiniEmbedder
from mmrag.errors import IndexMismatchError, UnsupportedInputError
from mmrag.index.base import Manifest
from mmrag.index.memory import MemoryIndex
from mmrag.retriever import Retriever
from mmrag.scoring import fuse, vector_share
from mmrag.search_request import CHANNELS
from mmrag.types import Budget, Query, Record


class CountingEmbedder(EmbedderBase):
    """A text's vector is how often it says red, green and blue; an image's is its mean colour."""

    name = "counting"
    dim = 3

    def __init__(self, modalities: Sequence[str] = ("text",), rows: int = 2) -> None:
        self.modalities = frozenset(modalities)
        self.budget = Budget(rows, 64)
        self.fingerprint = hashlib.sha256(repr(sorted(modalities)).encode()).hexdigest()
        self.thread: int | None = None

    def encode_document(self, documents, *, batch_size=32, show_progress=False):
        raise AssertionError("a search encodes no documents")

    def encode_query(self, queries, *, batch_size=32, show_progress=False):
        self.thread = threading.get_ident()
        rows = []
        for query in queries:
            vector = np.ones(3, dtype=np.float32) * 0.01
            if query.text:
                vector += [query.text.split().count(colour) for colour in ("red", "green", "blue")]
            if query.image is not None:
                vector += np.asarray(query.image.convert("RGB"), dtype=np.float32).mean(axis=(0, 1)) / 255
            rows.append(np.tile(vector / np.linalg.norm(vector), (self.budget.query, 1)).astype(np.float32))
        return rows


class WatchedIndex(MemoryIndex):
    """The exact index, noting what it is asked."""

    def __init__(self, embedder: CountingEmbedder, records: Sequence[Record]) -> None:
        super().__init__(
            Manifest(embedder.name, embedder.fingerprint, embedder.dim, "2026-01-01T00:00:00+00:00")
        )
        self.calls: list[tuple[str, object]] = []
        if records:
            self.add(records)

    def search_vectors(self, query, *, k, budget=None, filter=None, exact=False):
        self.calls.append(("vectors", (k, budget, exact)))
        return super().search_vectors(query, k=k, budget=budget, filter=filter, exact=exact)

    def search_text(self, text, *, k, filter=None, without=()):
        self.calls.append(("text", (text, k)))
        return super().search_text(text, k=k, filter=filter, without=without)

    def score(self, query, ids, *, budget=None):
        self.calls.append(("score", tuple(ids)))
        return super().score(query, ids, budget=budget)


def record(key: str, vector: Sequence[float], text: str, **metadata) -> Record:
    matrix = np.asarray([vector], dtype=np.float32)
    return Record(key, matrix / np.linalg.norm(matrix), text, metadata)


@pytest.fixture
def embedder() -> CountingEmbedder:
    return CountingEmbedder()


@pytest.fixture
def index(embedder) -> WatchedIndex:
    return WatchedIndex(
        embedder,
        [
            record("apple", (1, 0, 0), "an apple is red", kind="fruit"),
            record("leaf", (0, 1, 0), "a leaf", kind="plant"),
            record("sky", (0, 0, 1), "sky over sky", kind="other"),
            record("rose", (1, 0.2, 0), "a rose", kind="plant"),
        ],
    )


@pytest.fixture
def retriever(index, embedder) -> Retriever:
    return Retriever(index, embedder)


def ids(ranking) -> list[str]:
    return [candidate.id for candidate in ranking]


def test_both_channels_by_hand(retriever):
    """'red': apple is the nearest and the only one with the word, rose is near, leaf and sky are not."""
    ranking = retriever.search("red")
    assert ids(ranking)[:2] == ["apple", "rose"]
    assert [candidate.rank for candidate in ranking] == [1, 2, 3, 4]
    best = ranking[0]
    assert set(best.scores) == {"vectors", "text", "document", "fused"}
    assert best.score == best.scores["fused"]
    assert best.scores["text"] > 0
    assert [candidate.scores["text"] for candidate in ranking[1:]] == [0.0, 0.0, 0.0]


def test_the_order_is_that_of_the_fused_stage(retriever):
    ranking = retriever.search("red leaf blue sky", k=4)
    stages = {
        stage: {candidate.id: candidate.scores[stage] for candidate in ranking}
        for stage in ("vectors", "text")
    }
    weight = 1.5 * vector_share(stages["text"])
    expected = fuse(stages, {"vectors": weight, "text": 1.0})
    assert {candidate.id: candidate.score for candidate in ranking} == pytest.approx(expected)
    assert ids(ranking) == sorted(expected, key=lambda key: (-expected[key], key))


def test_words_that_lead_and_few_rows_leave_the_vectors_less(index, embedder):
    """'red' stands in apple alone, so the words are sure; the weights of a caller are used as they are."""
    for weights, budget, share in (
        (None, None, 0.5),
        (None, Budget(1, 1), 0.5 * 0.5**0.25),  # one row of two
        ({"vectors": 1.5, "text": 1.0}, None, 1.0),
        ({"vectors": 1.5, "text": 1.0}, Budget(1, 1), 1.0),
    ):
        ranking = Retriever(index, embedder, weights=weights).search("red", budget=budget)
        stages = {stage: {c.id: c.scores[stage] for c in ranking} for stage in CHANNELS}
        expected = fuse(stages, {"vectors": 1.5 * share, "text": 1.0})
        assert {c.id: c.score for c in ranking} == pytest.approx(expected)


def test_what_only_the_text_finds_gets_its_exact_vector_score(index, embedder):
    """Depth 1: the vectors put apple into the pool, the text puts sky."""
    retriever = Retriever(index, embedder, depth=1, weights={"vectors": 0.0, "text": 1.0})
    (best,) = retriever.search("red sky", k=1)
    assert best.id == "sky"
    assert ("score", ("sky",)) in index.calls
    alone = retriever.search("red sky", k=4, channels=["vectors"])
    exact = {candidate.id: candidate.score for candidate in alone}
    assert best.scores["vectors"] == pytest.approx(exact["sky"])


def test_what_only_the_vectors_find_gets_its_true_bm25(index, embedder):
    """Depth 1: the text channel's pool is sky alone, but apple shares a word and must not count as 0."""
    assert [hit.id for hit in index.search_text("red sky", k=2)] == ["sky", "apple"]
    (best,) = Retriever(index, embedder, depth=1).search("red sky", k=1)
    bm25 = {hit.id: hit.score for hit in index.search_text("red sky", k=2)}
    assert best.id == "apple"
    assert best.scores["text"] == bm25["apple"] > 0


@pytest.mark.parametrize("channel", ["vectors", "text"])
def test_a_channel_alone_orders_by_its_own_score(retriever, index, channel):
    ranking = retriever.search("red", channels=[channel])
    assert all(dict(candidate.scores) == {channel: candidate.score} for candidate in ranking)
    assert channel in {name for name, _ in index.calls} <= {channel, "score"}
    assert len(ranking) == (4 if channel == "vectors" else 1)


def test_weights_decide(index, embedder):
    text_only = Retriever(index, embedder, weights={"vectors": 0.0, "text": 1.0})
    assert text_only.search("red sky")[0].id == "sky"
    vectors_only = Retriever(index, embedder, weights={"vectors": 1.0, "text": 0.0})
    assert vectors_only.search("red sky")[0].id == "apple"


def test_equal_scores_are_ordered_by_id(embedder):
    twins = WatchedIndex(embedder, [record(key, (1, 0, 0), "red") for key in "bca"])
    assert ids(Retriever(twins, embedder).search("red")) == ["a", "b", "c"]


def test_equal_fused_scores_are_ordered_by_id_whatever_one_channel_says(embedder):
    twins = WatchedIndex(embedder, [record("a", (0, 1, 0), "red"), record("b", (1, 0, 0), "red")])
    ranking = Retriever(twins, embedder, weights={"vectors": 0.0, "text": 1.0}).search("red")
    assert ids(ranking) == ["a", "b"]
    assert ranking[0].scores["vectors"] < ranking[1].scores["vectors"]


@pytest.mark.parametrize("filter", [{"kind": "plant"}, {"kind": {"$ne": "other"}}, {"kind": "fruit"}])
def test_scores_of_the_channels_do_not_depend_on_the_filter(retriever, filter):
    """Only the fused score does, which is relative to the pool (to 1e-6: other rows in one product)."""
    whole = {candidate.id: candidate.scores for candidate in retriever.search("a red rose")}
    for candidate in retriever.search("a red rose", filter=filter):
        for channel in ("vectors", "text"):
            assert candidate.scores[channel] == pytest.approx(whole[candidate.id][channel], abs=1e-6)


def test_filter_and_k_reach_both_channels(retriever):
    assert sorted(ids(retriever.search("a red rose", filter={"kind": "plant"}))) == ["leaf", "rose"]
    assert len(retriever.search("a red rose", k=2)) == 2


def test_a_pool_of_one_and_of_none(retriever):
    (only,) = retriever.search("red", filter={"kind": "fruit"})
    assert (only.id, only.score) == ("apple", 0.0)
    assert len(retriever.search("red", filter={"kind": "nothing"})) == 0


def test_an_empty_index_gives_an_empty_ranking(embedder):
    ranking = Retriever(WatchedIndex(embedder, []), embedder).search("red")
    assert ranking.candidates == ()
    assert ranking.query == Query(text="red")


def test_a_budget_larger_than_the_embedders_is_clamped(index, embedder):
    retriever = Retriever(index, embedder)
    retriever.search("red", budget=Budget(16, 64), exact=True)
    retriever.search("red", budget=Budget(1, 1))
    searches = [asked for name, asked in index.calls if name == "vectors"]
    assert searches == [(100, Budget(2, 64), True), (100, Budget(1, 1), False)]


def test_k_beyond_the_depth_deepens_the_pool(index, embedder):
    Retriever(index, embedder, depth=2).search("red", k=3)
    assert index.calls[0][1][0] == 3


def test_a_record_deleted_meanwhile_leaves_no_gap(index, retriever):
    found = index.search_vectors

    def delete_then_answer(*args, **named):
        hits = found(*args, **named)
        index.delete(["apple"])
        return hits

    index.search_vectors = delete_then_answer
    ranking = retriever.search("red")
    assert "apple" not in ids(ranking)
    assert [candidate.rank for candidate in ranking] == [1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"query": "red", "k": 0}, "k must be a whole number of at least 1, got 0"),
        ({"query": "red", "k": True}, "k must be a whole number of at least 1, got True"),
        ({"query": "  "}, "a query must have text or an image"),
        ({"query": "word " * 10_000}, "a query must be at most 20000 characters, got 50000. Shorten it"),
        ({"query": "red", "channels": ()}, r"channels must be one or both .* got \(\)"),
        ({"query": "red", "channels": ("words",)}, r"channels must be one or both .* got \('words',\)"),
        ({"query": "red", "channels": "text"}, "channels must be one or both .* in a list, got 'text'"),
    ],
)
def test_wrong_arguments_are_refused_before_any_work(retriever, index, arguments, message):
    with pytest.raises(ValueError, match=message):
        retriever.search(**arguments)
    assert index.calls == []


def test_an_image_query_needs_an_embedder_that_sees(retriever):
    picture = Image.new("RGB", (4, 4), "red")
    with pytest.raises(UnsupportedInputError, match="'counting' takes text only, got a query with an image"):
        retriever.search(Query(image=picture))
    with pytest.raises(UnsupportedInputError, match="the text channel searches words"):
        retriever.search(Query(image=picture), channels=["text"])


def test_an_image_query_uses_the_vectors_only():
    seeing = CountingEmbedder(("text", "image"))
    index = WatchedIndex(seeing, [record("apple", (1, 0, 0), "red"), record("sky", (0, 0, 1), "red blue")])
    ranking = Retriever(index, seeing).search(Query(image=Image.new("RGB", (4, 4), "blue")))
    assert ids(ranking) == ["sky", "apple"]
    assert set(ranking[0].scores) == {"vectors"}
    both = Retriever(index, seeing).search(Query(text="red", image=Image.new("RGB", (4, 4), "red")))
    assert ids(both) == ["apple", "sky"]
    assert set(both[0].scores) == {"vectors", "text", "document", "fused"}


def test_another_embedders_index_is_refused_with_both_named(index):
    other = CountingEmbedder(("text", "image"))
    with pytest.raises(
        IndexMismatchError, match=r"built by 'counting' \(fingerprint .*this embedder is 'counting'"
    ):
        Retriever(index, other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 0}, "depth must be a whole number of at least 1, got 0"),
        ({"weights": {"vectors": 1.0}}, "weights must name the channels"),
        ({"weights": {"vectors": 1.0, "text": -1.0}}, "weight of 'text' must be"),
    ],
)
def test_wrong_settings_are_refused(index, embedder, settings, message):
    with pytest.raises(ValueError, match=message):
        Retriever(index, embedder, **settings)


async def test_asearch_agrees_and_leaves_the_loop_free(retriever, embedder):
    ranking = await retriever.asearch("red leaf", k=3)
    assert embedder.thread != threading.get_ident()
    assert ranking == retriever.search("red leaf", k=3)


def test_the_default_embedder_finds_meaning_by_vectors_and_codes_by_words():
    embedder = MiniEmbedder(threads=1)
    texts = {
        "sales": "European revenue fell by four percent over the year.",
        "pump": "Impeller AK-4471 was fitted to pump 2.",
        "valve": "Impeller AK-4417 was fitted to pump 3.",
        "menu": "Boil the egg for six minutes in salted water.",
        "blank": "",
    }
    index = MemoryIndex.for_embedder(embedder)
    matrices = embedder.encode_document(list(texts.values()))
    index.add(
        [Record(key, matrix, text) for (key, text), matrix in zip(texts.items(), matrices, strict=True)]
    )
    retriever = Retriever(index, embedder)
    assert retriever.search("How did turnover in Europe change?")[0].id == "sales"
    assert retriever.search("Where is AK-4417?")[0].id == "valve"
    assert retriever.search("Where is AK-4471?")[0].id == "pump"
    assert retriever.search("How long does an egg cook?", channels=["vectors"])[0].id == "menu"


# --- rows that are no nested prefix


@pytest.fixture
def flat(index, embedder) -> Retriever:
    """Its rows are tokens: no prefix of them stands for the record."""
    embedder.nested = False
    return Retriever(index, embedder)


def test_rows_that_are_not_nested_are_searched_exactly_and_whole(flat):
    flat.search("red", k=2, budget=flat.embedder.budget)
    asked = [how for name, how in flat.index.calls if name == "vectors"]
    assert [(budget, exact) for _, budget, exact in asked] == [(None, True)]


@pytest.mark.parametrize("budget", [Budget(1, 64), Budget(2, 63), Budget(1, 1)])
async def test_a_smaller_budget_of_rows_that_are_not_nested_is_refused(flat, budget):
    words = r"budget must be left out for 'counting' \(its vectors are no nested prefix.* of \(2, 64\)"
    with pytest.raises(ValueError, match=words):
        flat.search("red", budget=budget)
    with pytest.raises(ValueError, match=words):
        await flat.asearch("red", budget=budget)
    assert flat.index.calls == [] and flat.embedder.thread is None, "work was done before it was refused"
