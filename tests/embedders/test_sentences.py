"""Laws of sentence vectors: whose they are, and that like sentences are near."""

from __future__ import annotations

import numpy as np
import pytest

from mmrag.embedders.mini.embedder import MiniEmbedder
from mmrag.embedders.sentences import SentenceEncoder

SENTENCES = ["Net sales in Europe fell by 4 percent.", "The blue whale is the largest animal.", ""]


@pytest.fixture(scope="module")
def mini() -> MiniEmbedder:
    return MiniEmbedder(threads=1)


def test_the_sentence_that_answers_is_nearest(mini: MiniEmbedder) -> None:
    encode = SentenceEncoder(mini)
    [question] = encode(["How did net sales change in Europe?"], "query")
    similarity = np.stack(encode(SENTENCES, "document")) @ question
    assert similarity.argmax() == 0 and similarity[0] - similarity[1] > 0.2


def test_a_sentence_is_a_unit_vector_wider_than_a_row(mini: MiniEmbedder) -> None:
    vectors = np.stack(SentenceEncoder(mini)(SENTENCES, "document"))
    assert vectors.shape == (3, 384) and mini.dim == 128
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)  # float32


def test_a_long_text_is_the_mean_of_its_windows(mini: MiniEmbedder) -> None:
    [vector] = SentenceEncoder(mini)(["sales " * 600], "document")
    assert vector.shape == (384,) and 0.5 < np.linalg.norm(vector) <= 1 + 1e-5


def test_an_embedder_of_text_encodes_its_own_sentences(embedder) -> None:
    encode = SentenceEncoder(embedder)
    for side, matrices in (
        ("query", embedder.encode_query(SENTENCES[:2])),
        ("document", embedder.encode_document(SENTENCES[:2])),
    ):
        np.testing.assert_allclose(encode(SENTENCES[:2], side), [m[0] for m in matrices], atol=1e-5)
