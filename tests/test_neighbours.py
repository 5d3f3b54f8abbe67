"""The pages beside a page: their ids, and what their scores add to its own."""

from __future__ import annotations

import numpy as np
import pytest

from mmrag.embedders.base import EmbedderBase
from mmrag.index.base import Manifest
from mmrag.index.memory import MemoryIndex
from mmrag.retriever import NEIGHBOUR_TEXT, NEIGHBOUR_WEIGHT, Retriever
from mmrag.scoring import fuse, vector_share
from mmrag.scoring.neighbours import LIKENESS, add_neighbours, page_neighbours
from mmrag.types import Budget, Page, Record, Source

BOOK, LEAFLET = (Source(digit * 64, "pdf", f"{digit}.pdf") for digit in "ab")


def test_neighbours_by_hand():
    first, third, note, odd = BOOK.page_id(0), BOOK.page_id(2), "note#p1x", "#p"
    neighbours = page_neighbours([first, third, note, odd])
    assert neighbours[first] == [BOOK.page_id(1), BOOK.page_id(2)]
    assert neighbours[third] == [BOOK.page_id(number) for number in (0, 1, 3, 4)]
    assert neighbours[note] == neighbours[odd] == []
    assert page_neighbours([third], reach=1)[third] == [BOOK.page_id(1), BOOK.page_id(3)]


def test_means_by_hand():
    """The middle is 2. A's neighbours have 4 and 0, and 2.5 is expected beside it; B has nobody."""
    scores, around = {"A": 10.0, "B": 20.0}, {"A": 3.0, "B": 1.0, "x": 4.0, "y": 0.0}
    sums = add_neighbours(scores, around, {"A": ["x", "y", "gone"]}, 0.5)
    assert sums == {"A": pytest.approx(10 + 0.5 * (4 + 0 + 2.5) / 3), "B": pytest.approx(20 + 0.5 * 1.5)}


def test_means_of_random_pools():
    """Against matrices of 0 and 1 in NumPy: what is not around does not exist, and keeps its score."""
    random = np.random.default_rng(0)
    for _ in range(30):
        count = int(random.integers(1, 12))
        names = [f"d#p{number}" for number in range(count)]
        own, beside = random.normal(size=count), random.normal(size=count)
        is_pooled, is_there = random.random(count) < 0.6, random.random(count) < 0.8
        scores = {name: own[at] for at, name in enumerate(names) if is_pooled[at]}
        around = {name: beside[at] for at, name in enumerate(names) if is_there[at]}
        sums = add_neighbours(scores, around, page_neighbours(names), 0.3)
        assert list(sums) == list(scores)
        distance = np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
        near = (distance > 0) & (distance <= 2) & is_there  # (page, neighbour)
        known = is_pooled & is_there
        middle = beside[known].mean() if known.any() else 0.0
        imagined = middle + LIKENESS * (beside - middle)
        expected = own + np.where(is_there, 0.3 * (near @ beside + imagined) / (near.sum(1) + 1), 0)
        for at, name in enumerate(names):
            assert not is_pooled[at] or sums[name] == pytest.approx(expected[at])


def test_nothing_to_add():
    assert add_neighbours({}, {"A": 1.0}, {}, 0.3) == {}
    assert add_neighbours({"A": 1.0}, {}, {"A": ["B"]}, 0.3) == {"A": 1.0}
    assert add_neighbours({"A": 1.0}, {"A": 5.0}, {}, 0.0) == {"A": 1.0}


class TwoRows(EmbedderBase):
    """Each query is the first axis, and beside it a shorter row along the second."""

    name, dim, modalities, fingerprint = "two rows", 3, frozenset({"text"}), "2" * 32
    budget = Budget(2, 2)
    matrix = np.array([[1, 0, 0], [0, 0.25, 0]], np.float32)

    def __init__(self, nested: bool = True) -> None:
        self.nested = nested

    def encode_document(self, documents, *, batch_size=32, show_progress=False):
        raise AssertionError("a search encodes no documents")

    def encode_query(self, queries, *, batch_size=32, show_progress=False):
        return [self.matrix.copy() for _ in queries]


def page(source: Source, number: int, cosine: float, text: str, total: int) -> Record:
    row = np.array([[cosine, 0, np.sqrt(1 - cosine**2)]], np.float32)
    id = source.page_id(number)
    content = Page(
        id, source.document_id, number, str(number + 1), text, (), (600, 800), source, total, "layer"
    )
    return Record(id, row, text, {"doc_id": source.document_id, "page": number}, content)


def retriever_of(records, **settings) -> Retriever:
    embedder = TwoRows(settings.pop("nested", True))
    index = MemoryIndex(
        Manifest(embedder.name, embedder.fingerprint, embedder.dim, "2026-01-01T00:00:00+00:00")
    )
    index.add(records)
    return Retriever(index, embedder, document_weight=0, **settings)


def ids(ranking) -> list[str]:
    return [candidate.id for candidate in ranking]


COSINES = (0.1, 0.1, 0.1, 0.7, 0.8, 0.6, 0.8, 0.7)
BOOK_PAGES = [page(BOOK, number, cosine, "kiln", 9) for number, cosine in enumerate(COSINES)]


def test_a_page_in_good_company_goes_before_one_alone():
    """Page 5 is as near to the question as the leaflet, and the pages beside it are nearer."""
    records = [*BOOK_PAGES, page(LEAFLET, 0, 0.61, "kiln", 1)]
    with_them = ids(retriever_of(records).search("kiln", k=9))
    without = ids(retriever_of(records, neighbour_weight=0).search("kiln", k=9))
    five, leaflet = BOOK.page_id(5), LEAFLET.page_id(0)
    assert without.index(leaflet) < without.index(five)
    assert with_them.index(five) < with_them.index(leaflet)


@pytest.mark.parametrize("budget", [None, Budget(1, 1)])
def test_the_fused_score_is_that_of_the_formula(budget):
    records = BOOK_PAGES
    ranking = retriever_of(records).search("kiln", k=8, budget=budget)
    rows = TwoRows.matrix if budget is None else TwoRows.matrix[:1]
    cosines = {record.id: float(np.float16(record.matrix[0, 0])) for record in records}  # as stored
    vectors = {candidate.id: candidate.scores["vectors"] for candidate in ranking}
    text = {candidate.id: candidate.scores["text"] for candidate in ranking}
    near = page_neighbours(list(vectors))
    shares = {id: score / np.linalg.norm(rows, axis=1).sum() for id, score in vectors.items()}
    weight = 1.5 * vector_share(text, 1 if budget is None else 0.5)
    fused = fuse(
        {
            "vectors": add_neighbours(shares, cosines, near, NEIGHBOUR_WEIGHT),
            "text": add_neighbours(text, text, near, NEIGHBOUR_WEIGHT * NEIGHBOUR_TEXT),
        },
        {"vectors": weight, "text": 1},
    )
    assert {candidate.id: candidate.score for candidate in ranking} == pytest.approx(fused, abs=1e-5)


def test_channels_alone_and_records_of_no_document_know_no_neighbours():
    notes = [Record(f"note {record.id[-1]}", record.matrix, record.text, {}) for record in BOOK_PAGES]
    assert [c.score for c in retriever_of(notes).search("kiln")] == [
        c.score for c in retriever_of(notes, neighbour_weight=0).search("kiln")
    ]
    for channel in ("vectors", "text"):
        rankings = [
            retriever_of(BOOK_PAGES, neighbour_weight=weight).search("kiln", channels=[channel])
            for weight in (0, 0.3)
        ]
        assert rankings[0] == rankings[1]


def test_rows_that_are_no_prefix_count_neighbours_by_words_alone():
    """Two pages of nine have the word, in the company of others or alone."""
    texts = ["kiln" if number in (0, 1, 7) else "clay" for number in range(8)]
    records = [page(BOOK, number, 0.5, text, 8) for number, text in enumerate(texts)]
    ranking = retriever_of(records, nested=False).search("kiln", k=8)
    assert ids(ranking)[:3] == [BOOK.page_id(0), BOOK.page_id(1), BOOK.page_id(7)]
    assert ranking[0].score > ranking[2].score


def test_a_neighbour_that_is_deleted_does_not_count():
    whole, rest = retriever_of(BOOK_PAGES), retriever_of([*BOOK_PAGES[:4], *BOOK_PAGES[5:]])
    whole.index.delete([BOOK.page_id(4)])
    assert [(c.id, c.score) for c in whole.search("kiln")] == [(c.id, c.score) for c in rest.search("kiln")]


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_weights_that_are_no_weights_are_refused(weight):
    with pytest.raises(ValueError, match="neighbour_weight must be a number of at least 0"):
        retriever_of(BOOK_PAGES, neighbour_weight=weight)
