"""A host's store over a small index: items, texts, searches by a vector, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from mmrag import Budget, Content, DocumentQA, MemoryIndex
from mmrag.embedders.base import EmbedderBase
from mmrag.errors import IndexMismatchError, UnsupportedInputError
from mmrag.hosts import deletion, stores
from mmrag.hosts.stores import StoreItem

COLOURS = ("red", "green", "blue")


class ColourEmbedder(EmbedderBase):
    """One row per text: which colours it names."""

    name, fingerprint, dim, budget, modalities = "colours", "c" * 32, 3, Budget(1, 1), frozenset({"text"})

    def encode_query(self, queries, *, batch_size=32, show_progress=False):
        return [self._row(query if isinstance(query, str) else query.text) for query in queries]

    def encode_document(self, documents, *, batch_size=32, show_progress=False):
        return [self._row(item.text if isinstance(item, Content) else item) for item in documents]

    def _row(self, text):
        row = np.array([colour in text for colour in COLOURS], dtype=np.float32)
        return (row / max(float(np.linalg.norm(row)), 1e-9))[None]


def item(text: str, **options: object) -> StoreItem:
    values: dict = {"id": text, "text": text, "embed_text": text} | options
    return StoreItem(**values)


@pytest.fixture
def qa() -> Iterator[DocumentQA]:
    with stores.open_store(ColourEmbedder()) as opened:
        stores.add_items(opened, [item(colour, metadata={"n": n}) for n, colour in enumerate(COLOURS)])
        yield opened


def test_a_store_has_one_home() -> None:
    index = MemoryIndex.for_embedder(ColourEmbedder())
    assert stores.open_store(ColourEmbedder(), index=index).index is index
    with pytest.raises(ValueError, match="persist_directory and index must not both be given"):
        stores.open_store(ColourEmbedder(), "folder", index=index)


def test_vectors_of_another_model_of_the_same_width_are_told(qa: DocumentQA, caplog) -> None:
    """Bug guarded: they were dropped in silence, and questions of that model found anything."""
    same = [item("red", embedding=[2.0, 0.01, 0.0]), item("green", embedding=[0.0, 1.0, 0.0]), item("blue")]
    stores.add_items(qa, same)
    assert not caplog.records
    stores.add_items(qa, [*same, item("red and green", embedding=[0.0, 0.0, 1.0])])
    (said,) = caplog.messages
    assert "the embeddings of 1 of 4 nodes ('red and green' first) are not those of 'colours'" in said


def test_items_are_added_whole_or_not_at_all(qa: DocumentQA) -> None:
    with pytest.raises(ValueError, match="must have text or an image, got ' ' without either"):
        stores.add_items(qa, [item("red and green"), item(" ")])
    with pytest.raises(IndexMismatchError, match="has 2 numbers, 'colours' gives 3"):
        stores.add_items(qa, [item("red and green"), item("x", embedding=[0.0, 1.0])])
    assert qa.index.count() == 3
    assert stores.add_items(qa, []) == []


def test_text_beats_an_image_that_the_embedder_cannot_see(qa: DocumentQA) -> None:
    stores.add_items(qa, [item("red", image="/no/such.png")])  # never opened
    with pytest.raises((UnsupportedInputError, FileNotFoundError)):
        stores.add_items(qa, [item("", id="x", image="/no/such.png")])


def test_a_vector_finds_its_nearest(qa: DocumentQA) -> None:
    hits = stores.search_vector(qa.index, [0.0, 0.8, 0.6], 2, None, None)
    assert [(hit.id, hit.rank) for hit in hits] == [("green", 1), ("blue", 2)]
    assert hits[0].score == pytest.approx(0.8, abs=1e-2)  # stored in float16
    assert [hit.id for hit in stores.search_vector(qa.index, [0, 1, 0], 3, None, {"n": 2})] == ["blue"]


def test_a_vector_of_another_text_is_searched_as_it_is(qa: DocumentQA) -> None:
    own = stores.search_text_or_vector(qa, "red", [2.0, 0.0, 0.0], k=1)
    assert "text" in own[0].scores  # the length of a vector does not matter: words searched, too
    other = stores.search_text_or_vector(qa, "red", [0.0, 0.0, 1.0], k=1)
    assert [(hit.id, set(hit.scores)) for hit in other] == [("blue", {"vectors"})]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"text": "", "vector": None}, "must have words or an embedding"),
        ({"text": "red", "vector": None, "alpha": 1.5}, "alpha must be from 0"),
    ],
)
def test_a_search_without_a_question_is_refused(qa: DocumentQA, options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        stores.search_text_or_vector(qa, k=1, **options)


def test_scores_of_cosine_options_are_cosines(qa: DocumentQA) -> None:
    options = stores.cosine_options(qa.embedder, None)
    ranking = qa.retriever.search("red green", k=3, **options)
    assert [hit.score for hit in ranking] == pytest.approx([2**-0.5, 2**-0.5, 0.0], abs=1e-3)  # float16


def test_ids_are_filtered_in_the_callers_order(qa: DocumentQA) -> None:
    assert deletion.matching_ids(qa.index, ["blue", "x", "red"], {"n": {"$gte": 0}}) == ["blue", "red"]
    assert set(deletion.matching_ids(qa.index, None, {"n": {"$gte": 1}})) == {"green", "blue"}


def test_first_vectors_come_with_their_records(qa: DocumentQA) -> None:
    records, vectors = stores.single_vectors(qa.index, ["blue", "red"])
    assert [record.id for record in records] == ["blue", "red"]
    assert np.argmax(vectors, axis=1).tolist() == [2, 0]


def test_deleting_a_document_takes_what_was_made_from_it(qa: DocumentQA) -> None:
    stores.add_items(qa, [item("red part", metadata={"ref_doc_id": "red"})])
    deletion.delete_document(qa.index, "red")
    assert set(qa.index.ids()) == {"green", "blue"}
    deletion.clear(qa.index)
    assert qa.index.count() == 0


def test_an_unknown_filter_key_names_the_nearest(qa: DocumentQA, caplog: pytest.LogCaptureFixture) -> None:
    stores.warn_of_filter_keys(["n"], qa.index)
    assert not caplog.records
    stores.warn_of_filter_keys(["m"], qa.index)
    assert "no record has the filter's key 'm'. Did you mean 'n'" in caplog.text


def test_a_text_that_is_no_page_has_no_picture(qa: DocumentQA) -> None:
    assert stores.page_image(qa, qa.index.get(["red"])[0]) == (None, None)
