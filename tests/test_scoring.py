"""Laws of late interaction and of fusion: by hand, over random input, against plain loops and torch."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from mmrag.scoring import (
    DEFAULT_WEIGHTS,
    fuse,
    maxsim,
    maxsim_ragged,
    pad_matrices,
    standardise,
    take_budget,
    vector_share,
)
from mmrag.scoring.fusion import CLEAR_LEAD, CLEAR_LEAD_SHARE, SMALLEST_SPREAD

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


@pytest.mark.parametrize("numbers", [1, 40, 300, 2000])
def test_the_size_of_a_chunk_changes_rounding_only(ragged, monkeypatch, numbers):
    """From one document at a time to all of them at once: sums of at most 8 products, in another order."""
    q, qm = pad_matrices(ragged[0])
    d, dm = pad_matrices(ragged[1])
    flat, offsets = np.concatenate(ragged[1]), np.cumsum([0, *map(len, ragged[1])])
    query = ragged[0][0]
    whole = [maxsim(q, d, qm, dm), maxsim_ragged(query, ragged[1]), maxsim_ragged(query, (flat, offsets))]
    monkeypatch.setattr("mmrag.scoring.late_interaction.CHUNK_NUMBERS", numbers)
    monkeypatch.setattr("mmrag.scoring.ragged.BLOCK_NUMBERS", numbers)
    monkeypatch.setattr("mmrag.scoring.ragged.PART_NUMBERS", numbers)
    monkeypatch.setattr("mmrag.scoring.ragged.LEAST_ROWS", 1)
    parts = [maxsim(q, d, qm, dm), maxsim_ragged(query, ragged[1]), maxsim_ragged(query, (flat, offsets))]
    for one_by_one, together in zip(parts, whole, strict=True):
        np.testing.assert_allclose(one_by_one, together, atol=TOLERANCE)


def test_ragged_takes_matrices_or_flat_rows_with_offsets(ragged):
    query, documents = ragged[0][0], ragged[1]
    flat = np.concatenate(documents)
    offsets = np.cumsum([0, *map(len, documents)])
    np.testing.assert_allclose(
        maxsim_ragged(query, (flat, offsets)), maxsim_ragged(query, documents), atol=TOLERANCE
    )


def test_ragged_documents_of_one_length_equal_the_general_case(rng):
    documents = list(normalised(rng, 9, 4, 8))
    query = normalised(rng, 3, 8)
    with_other = maxsim_ragged(query, [*documents, normalised(rng, 2, 8)])
    np.testing.assert_allclose(maxsim_ragged(query, documents), with_other[:-1], atol=TOLERANCE)


def test_float16_rows_are_read_by_their_bits_as_numpy_reads_them(rng):
    """Every finite float16 there is, subnormal ones and both zeros too."""
    bits = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)
    numbers = bits.view(np.float16)
    rows = numbers[np.isfinite(numbers)].reshape(-1, 8)
    query = np.eye(8, dtype=np.float32)
    offsets = np.arange(len(rows) + 1)
    expected = rows.astype(np.float32).sum(1)
    np.testing.assert_allclose(maxsim_ragged(query, (rows, offsets)), expected, rtol=1e-6)
    large = 1e6 * query  # too large for the scaled product
    np.testing.assert_allclose(maxsim_ragged(large, (rows, offsets)), 1e6 * expected, rtol=1e-6)


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


def test_wrong_masks_offsets_and_dims_are_refused():
    ones = np.ones((2, 3, 4))
    with pytest.raises(ValueError, match=r"document_mask must have shape \(2, 3\)"):
        maxsim(ones, ones, None, np.ones((2, 4), bool))
    with pytest.raises(ValueError, match=r"query_mask must have shape \(2, 3\)"):
        maxsim(ones, ones, np.ones((3,), bool))
    with pytest.raises(ValueError, match="offsets must rise from 0"):
        maxsim_ragged(ones[0], (ones[0], np.array([0, 2])))
    with pytest.raises(ValueError, match="one dim, got 4 and"):
        maxsim_ragged(ones[0], [np.ones((1, 5))])
    with pytest.raises(ValueError, match="one dim, got 4 first and 5 in matrix 1"):
        pad_matrices([np.ones((1, 4)), np.ones((1, 5))])


@pytest.mark.parametrize("numbers", [1 << 22, 500])
def test_torch_agrees_with_numpy(ragged, monkeypatch, numbers):
    torch = pytest.importorskip("torch")
    q, qm = pad_matrices(ragged[0])
    d, dm = pad_matrices(ragged[1])
    tensors = [torch.from_numpy(array) for array in (q, d, qm, dm)]
    expected = maxsim(q, d, qm, dm)
    monkeypatch.setattr("mmrag.scoring.late_interaction.CHUNK_NUMBERS", numbers)
    scores = maxsim(*tensors)
    assert isinstance(scores, torch.Tensor) and scores.dtype == torch.float32
    np.testing.assert_allclose(scores.numpy(), expected, atol=TOLERANCE)
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


# ---- fusion --------------------------------------------------------------------------------------


def test_standardise_by_hand():
    """Scores 1, 2, 3: mean 2, standard deviation sqrt(2/3)."""
    scores = standardise({"a": 1.0, "b": 2.0, "c": 3.0})
    assert scores == {"a": pytest.approx(-(1.5**0.5)), "b": 0.0, "c": pytest.approx(1.5**0.5)}


def test_fuse_by_hand():
    """Two records are at +1 and -1 in each channel, so the weights alone decide."""
    fused = fuse({"vectors": {"a": 0.7, "b": 0.6}, "text": {"a": 0.0, "b": 9.0}})
    assert fused == {"a": pytest.approx(1.5 - 1), "b": pytest.approx(-1.5 + 1)}


def test_default_weights_are_three_to_two():
    assert dict(DEFAULT_WEIGHTS) == {"vectors": 1.5, "text": 1.0}


def test_a_channel_without_spread_does_not_change_the_order():
    fused = fuse({"vectors": {"a": 0.5, "b": 0.5, "c": 0.5}, "text": {"a": 1.0, "b": 3.0, "c": 2.0}})
    assert sorted(fused, key=fused.__getitem__) == ["a", "c", "b"]


def test_float32_rounding_is_not_spread():
    """Bug guarded: equal cosines that differ in the last float32 bit became z-scores of a whole unit."""
    low = float(np.float32(0.6))
    high = float(np.nextafter(np.float32(0.6), np.float32(1)))
    assert max(abs(z) for z in standardise({"a": low, "b": high}).values()) < 1e-4


def test_a_tiny_difference_in_a_pool_of_two_does_not_outweigh_a_real_one():
    """Without a floor on the spread any two scores are at +1 and -1, and the heavier channel always wins."""
    fused = fuse({"vectors": {"a": 0.6001, "b": 0.6}, "text": {"a": 0.0, "b": 5.0}})
    assert fused["b"] > fused["a"]
    z = standardise({"a": 0.6001, "b": 0.6})
    assert z["a"] == pytest.approx(0.00005 / 0.006001)


@pytest.mark.parametrize("scores", [{}, {"a": 3.0}, {"a": 0.0, "b": 0.0}, {"a": -2.0, "b": -2.0}])
def test_no_spread_is_zero(scores):
    assert standardise(scores) == dict.fromkeys(scores, 0.0)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 100])
def test_equal_scores_are_zero_to_within_rounding(count):
    scores = {str(number): 0.1 for number in range(count)}
    assert standardise(scores) == pytest.approx(dict.fromkeys(scores, 0.0), abs=1e-12)


def test_z_scores_do_not_depend_on_scale_or_offset():
    rng = np.random.default_rng(1)
    values = rng.normal(size=50)
    plain = standardise({str(i): float(v) for i, v in enumerate(values)})
    moved = standardise({str(i): float(v * 7 - 40) for i, v in enumerate(values)})
    assert plain == {key: pytest.approx(value, abs=1e-9) for key, value in moved.items()}


def test_fuse_equals_numpy():
    rng = np.random.default_rng(2)
    vectors, text = rng.normal(size=(2, 200))
    fused = fuse(
        {
            "vectors": {str(i): float(v) for i, v in enumerate(vectors)},
            "text": {str(i): float(v) for i, v in enumerate(text)},
        },
        {"vectors": 0.7, "text": 0.3},
    )
    expected = 0.7 * (vectors - vectors.mean()) / vectors.std() + 0.3 * (text - text.mean()) / text.std()
    np.testing.assert_allclose([fused[str(i)] for i in range(200)], expected, atol=1e-9)


def test_different_ids_are_refused():
    with pytest.raises(ValueError, match="must score the same ids, got 1 in 'text' and 2 before"):
        fuse({"vectors": {"a": 1.0, "b": 2.0}, "text": {"a": 1.0}})


def test_a_score_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="must be finite, got nan for 'b'"):
        standardise({"a": 1.0, "b": float("nan")})


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"vectors": -1.0, "text": 1.0}, "weight of 'vectors' must be a number of at least 0, got -1.0"),
        ({"vectors": 0.0, "text": 0.0}, "at least one channel must have a weight above 0"),
        ({"vectors": 1.0}, "every channel needs a weight, got none for 'text'"),
    ],
)
def test_weights_that_cannot_order_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        fuse({"vectors": {"a": 1.0}, "text": {"a": 1.0}}, weights)


def test_the_vectors_weigh_less_beside_sure_words_and_with_few_rows():
    """Of four records one leads by words; then two lead together, and nothing says which."""
    clear, level = {"a": 9.0, "b": 1.0, "c": 1.0, "d": 0.0}, {"a": 9.0, "b": 9.0, "c": 1.0, "d": 0.0}
    assert vector_share(clear) == CLEAR_LEAD_SHARE
    assert vector_share(level) == vector_share({}) == vector_share({"a": 3.0, "b": 0.0}) == 1.0
    assert vector_share(level, 1 / 16) == pytest.approx(0.5)
    assert vector_share(clear, 1 / 16) == pytest.approx(CLEAR_LEAD_SHARE / 2)


def test_the_clear_lead_is_that_of_two_z_scores():
    """NumPy's own standard deviation beside ours, over random pools."""
    rng = np.random.default_rng(7)
    for _ in range(50):
        scores = rng.gamma(1.0, 3.0, size=rng.integers(3, 30))
        first, second = np.sort(scores)[::-1][:2]
        lead = (first - second) / max(scores.std(), SMALLEST_SPREAD * np.abs(scores).max())
        share = vector_share({str(index): float(score) for index, score in enumerate(scores)})
        assert share == (CLEAR_LEAD_SHARE if lead > CLEAR_LEAD else 1.0)
