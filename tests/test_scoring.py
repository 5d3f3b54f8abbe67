"""Laws of late interaction: by hand, over random input, against plain loops and against torch."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from mmrag.scoring import maxsim, maxsim_pairwise, maxsim_ragged, pad_matrices, take_budget

TOLERANCE = 1e-5  # rounding of float32 sums of at most 16 cosines


def normalised(rng, *shape):
    array = rng.standard_normal(shape).astype(np.float32)
    return array / np.linalg.norm(array, axis=-1, keepdims=True)


def by_loops(query, document):
    """Sum over query vectors of the best document vector, one number at a time, in float64."""
    total = 0.0
    for q in query.astype(np.float64):
        total += max(float(q @ d) for d in document.astype(np.float64))
    return total


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def ragged(rng):
    """Queries and documents of different lengths."""
    queries = [normalised(rng, int(n), 8) for n in rng.integers(1, 6, 7)]
    documents = [normalised(rng, int(n), 8) for n in rng.integers(1, 9, 23)]
    return queries, documents


def test_maxsim_hand_computed_two_by_two():
    queries = np.array([[[1.0, 0.0], [0.0, 1.0]]])
    documents = np.array([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.0, -1.0]]])
    # first: best 1 for (1,0), best .5 for (0,1); second: best 0 and best 1
    assert maxsim(queries, documents).tolist() == [[1.5, 1.0]]


def test_negative_similarity_survives_padding():
    query = np.array([[[1.0, 0.0]]])
    documents = np.array([[[-0.5, 0.0], [0.0, 0.0]]])
    mask = np.array([[True, False]])
    assert maxsim(query, documents, None, mask).tolist() == [[-0.5]]
    assert maxsim_pairwise(query, documents, None, mask).tolist() == [-0.5]
    assert maxsim(query, documents).tolist() == [[0.0]], "without the mask the padding wins"


def test_masked_query_vectors_do_not_count():
    query = np.array([[[1.0, 0.0], [7.0, 7.0]]])
    document = np.array([[[1.0, 0.0]]])
    assert maxsim(query, document, np.array([[True, False]])).tolist() == [[1.0]]


def test_document_without_vectors_scores_minus_infinity():
    query, documents = np.ones((1, 2, 3)), np.ones((2, 2, 3))
    mask = np.array([[True, True], [False, False]])
    assert maxsim(query, documents, None, mask).tolist() == [[6.0, -np.inf]]
    flat, offsets = np.ones((2, 3)), np.array([0, 2, 2])
    assert maxsim_ragged(query[0], (flat, offsets)).tolist() == [6.0, -np.inf]


def test_equals_plain_loops(ragged):
    queries, documents = ragged
    expected = np.array([[by_loops(q, d) for d in documents] for q in queries])
    padded = maxsim(*[pad_matrices(side)[0] for side in ragged], *[pad_matrices(side)[1] for side in ragged])
    np.testing.assert_allclose(padded, expected, atol=TOLERANCE)
    for query, row in zip(queries, expected, strict=True):
        np.testing.assert_allclose(maxsim_ragged(query, documents), row, atol=TOLERANCE)


def test_score_does_not_depend_on_batch_neighbours(ragged):
    queries, documents = ragged
    q, qm = pad_matrices(queries)
    d, dm = pad_matrices(documents)
    together = maxsim(q, d, qm, dm)
    for i, query in enumerate(queries):
        for j, document in enumerate(documents):
            np.testing.assert_allclose(
                maxsim(query[None], document[None])[0, 0], together[i, j], atol=TOLERANCE
            )


def test_pairwise_is_the_diagonal(ragged):
    q, qm = pad_matrices(ragged[0])
    d, dm = pad_matrices(ragged[1][: len(q)])
    expected = np.diag(maxsim(q, d, qm, dm))
    np.testing.assert_allclose(maxsim_pairwise(q, d, qm, dm), expected, atol=TOLERANCE)


@pytest.mark.parametrize("chunk", [1, 2, 7, 1000])
def test_chunk_changes_nothing(ragged, chunk):
    q, qm = pad_matrices(ragged[0])
    d, dm = pad_matrices(ragged[1])
    np.testing.assert_allclose(maxsim(q, d, qm, dm, chunk=chunk), maxsim(q, d, qm, dm), atol=TOLERANCE)
    pairs = slice(0, len(q))
    np.testing.assert_allclose(
        maxsim_pairwise(q, d[pairs], qm, dm[pairs], chunk=chunk),
        maxsim_pairwise(q, d[pairs], qm, dm[pairs]),
        atol=TOLERANCE,
    )
    np.testing.assert_allclose(
        maxsim_ragged(ragged[0][0], ragged[1], chunk=chunk),
        maxsim_ragged(ragged[0][0], ragged[1]),
        atol=TOLERANCE,
    )


def test_ragged_takes_matrices_or_flat_rows_with_offsets(ragged):
    query, documents = ragged[0][0], ragged[1]
    flat = np.concatenate(documents)
    offsets = np.cumsum([0, *map(len, documents)])
    for chunk in (None, 3, 10):
        np.testing.assert_allclose(
            maxsim_ragged(query, (flat, offsets), chunk=chunk),
            maxsim_ragged(query, documents),
            atol=TOLERANCE,
        )


def test_ragged_documents_of_one_length_equal_the_general_case(rng):
    documents = list(normalised(rng, 9, 4, 8))
    query = normalised(rng, 3, 8)
    with_other = maxsim_ragged(query, [*documents, normalised(rng, 2, 8)])
    np.testing.assert_allclose(maxsim_ragged(query, documents), with_other[:-1], atol=TOLERANCE)


def test_two_matrices_in_a_tuple_are_two_documents(rng):
    """A tuple of two 2D matrices is not (flat, offsets)."""
    documents = tuple(normalised(rng, 2, 3, 8))
    query = normalised(rng, 2, 8)
    np.testing.assert_allclose(maxsim_ragged(query, documents), maxsim_ragged(query, list(documents)))


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_result_is_float32_whatever_comes_in(ragged, dtype):
    q, qm = pad_matrices(ragged[0])
    d, dm = pad_matrices(ragged[1])
    scores = maxsim(q.astype(dtype), d.astype(dtype), qm, dm)
    assert scores.dtype == np.float32
    # inputs rounded to float16, products and sums in float32
    expected = maxsim(q.astype(dtype).astype(np.float32), d.astype(dtype).astype(np.float32), qm, dm)
    np.testing.assert_allclose(scores, expected, atol=TOLERANCE)


def test_float16_sums_do_not_lose_small_terms():
    """In float16, 2048 + 1 is 2048."""
    query = np.ones((1, 2049, 1), np.float16)
    assert maxsim(query, np.ones((1, 1, 1), np.float16)).tolist() == [[2049.0]]


def test_full_budget_is_no_budget(rng):
    matrix = normalised(rng, 5, 8)
    assert take_budget(matrix, 5) is not None
    for rows in (None, 5, 64):
        np.testing.assert_array_equal(take_budget(matrix, rows), matrix)


def test_smaller_budget_is_a_prefix(rng):
    matrix = normalised(rng, 5, 8)
    np.testing.assert_array_equal(take_budget(matrix, 2), matrix[:2])
    assert np.shares_memory(take_budget(matrix, 2), matrix), "nothing is copied"
    batch = normalised(rng, 3, 5, 8)
    np.testing.assert_array_equal(take_budget(batch, 2), batch[:, :2])


@pytest.mark.parametrize("rows", [0, -1, 1.5, True])
def test_budget_of_no_rows_is_refused(rng, rows):
    with pytest.raises(ValueError, match="a budget must be a whole number of at least 1"):
        take_budget(normalised(rng, 2, 8), rows)


def test_more_document_rows_never_lower_a_score(rng):
    query, document = normalised(rng, 4, 8), normalised(rng, 16, 8)
    scores = [maxsim_ragged(query, [take_budget(document, rows)])[0] for rows in range(1, 17)]
    assert all(later >= earlier - TOLERANCE for earlier, later in pairwise(scores))


def test_empty_sides_give_empty_scores():
    assert maxsim(np.ones((2, 3, 4)), np.ones((0, 3, 4))).shape == (2, 0)
    assert maxsim(np.ones((0, 3, 4)), np.ones((5, 3, 4))).shape == (0, 5)
    assert maxsim_pairwise(np.ones((0, 3, 4)), np.ones((0, 3, 4))).shape == (0,)
    assert maxsim_ragged(np.ones((3, 4)), []).shape == (0,)
    padded, mask = pad_matrices([])
    assert padded.shape == (0, 0, 0) and mask.shape == (0, 0)


@pytest.mark.parametrize(
    ("queries", "documents", "words"),
    [
        (np.ones((3, 4)), np.ones((1, 3, 4)), "queries must be 3D"),
        (np.ones((1, 3, 4)), np.ones((3, 4)), "documents must be 3D .* Wrap a single document in a list"),
        (np.ones((1, 3, 4)), np.ones((1, 3, 5)), "one dim, got 4 and 5"),
        (np.ones((1, 3, 4)), np.ones((1, 0, 4)), "at least one vector"),
    ],
)
def test_wrong_shapes_are_refused(queries, documents, words):
    with pytest.raises(ValueError, match=words):
        maxsim(queries, documents)


def test_wrong_masks_offsets_and_pairs_are_refused():
    ones = np.ones((2, 3, 4))
    with pytest.raises(ValueError, match=r"document_mask must have shape \(2, 3\)"):
        maxsim(ones, ones, None, np.ones((2, 4), bool))
    with pytest.raises(ValueError, match=r"query_mask must have shape \(2, 3\)"):
        maxsim(ones, ones, np.ones((3,), bool))
    with pytest.raises(ValueError, match="one document a query, got 2 queries and 1 documents"):
        maxsim_pairwise(ones, ones[:1])
    with pytest.raises(ValueError, match="offsets must rise from 0"):
        maxsim_ragged(ones[0], (ones[0], np.array([0, 2])))
    with pytest.raises(ValueError, match="one dim, got 4 and"):
        maxsim_ragged(ones[0], [np.ones((1, 5))])
    with pytest.raises(ValueError, match="one dim, got 4 first and 5 in matrix 1"):
        pad_matrices([np.ones((1, 4)), np.ones((1, 5))])
    with pytest.raises(ValueError, match="chunk must be at least 1"):
        maxsim(ones, ones, chunk=0)


def test_torch_agrees_with_numpy(ragged):
    torch = pytest.importorskip("torch")
    q, qm = pad_matrices(ragged[0])
    d, dm = pad_matrices(ragged[1])
    tensors = [torch.from_numpy(array) for array in (q, d, qm, dm)]
    for chunk in (None, 3):
        scores = maxsim(*tensors, chunk=chunk)
        assert isinstance(scores, torch.Tensor) and scores.dtype == torch.float32
        np.testing.assert_allclose(scores.numpy(), maxsim(q, d, qm, dm), atol=TOLERANCE)
    n = len(q)
    pairs = maxsim_pairwise(tensors[0], tensors[1][:n], tensors[2], tensors[3][:n])
    np.testing.assert_allclose(pairs.numpy(), maxsim_pairwise(q, d[:n], qm, dm[:n]), atol=TOLERANCE)
    half = maxsim(tensors[0].bfloat16(), tensors[1].bfloat16(), tensors[2], tensors[3])
    assert half.dtype == torch.float32
    assert take_budget(tensors[1], 2).shape == (len(d), 2, 8)


def test_gradients_flow_through_torch_and_not_into_padding():
    torch = pytest.importorskip("torch")
    query = torch.ones((1, 1, 2), requires_grad=True)
    documents = torch.tensor([[[-1.0, 0.0], [0.0, 0.0]]], requires_grad=True)
    maxsim(query, documents, None, torch.tensor([[True, False]])).sum().backward()
    assert query.grad.tolist() == [[[-1.0, 0.0]]]
    assert documents.grad.tolist() == [[[1.0, 1.0], [0.0, 0.0]]]


def test_arrays_and_tensors_are_not_mixed():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="got both"):
        maxsim(torch.ones((1, 1, 2)), np.ones((1, 1, 2)))


def test_scoring_never_imports_torch():
    code = (
        "import sys, numpy as np; from mmrag.scoring import maxsim;"
        "maxsim(np.ones((1,1,2)), np.ones((1,1,2)));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
