"""Laws of rows in int8: by hand, within the stated error over random input, and alike for both engines."""

import itertools

import numpy as np
import pytest

from mmrag.errors import MissingExtraError
from mmrag.scoring import (
    Int8Rows,
    PackedRows,
    int8,
    int8_engine,
    maxsim_int8,
    maxsim_ragged,
    quantisation_error,
)

ENGINES = ["numpy", "numkong"]


@pytest.fixture(params=ENGINES)
def engine(request):
    if request.param == "numkong":
        pytest.importorskip("numkong")
    return request.param


def sample(seed, documents=60, dim=32, query_rows=5):
    """A query, rows and offsets; some rows are long, some zero, some documents without rows."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 9, documents)
    rows = rng.standard_normal((lengths.sum(), dim)).astype(np.float32)
    rows *= np.exp(rng.standard_normal((len(rows), 1))).astype(np.float32)
    rows[::17] = 0.0
    query = rng.standard_normal((query_rows, dim)).astype(np.float32)
    return query, rows, np.cumsum([0, *lengths])


def test_two_rows_by_hand(engine):
    """A row's largest number is 127 steps; here every number is a whole one, so nothing is lost."""
    rows = Int8Rows.of(np.array([[127.0, -64.0], [0.0, 0.0], [0.5, 0.25]], np.float32))
    assert rows.codes.tolist() == [[127, -64], [0, 0], [127, 64]]
    np.testing.assert_allclose(rows.scales, [1.0, 0.0, 0.5 / 127])
    query = np.array([[127.0, 0.0], [0.0, 127.0]], np.float32)
    scores = maxsim_int8(query, rows, np.array([0, 2, 2, 3]), engine=engine)
    # (127 * 127) + 0, which beats 127 * -64; no rows; 127 * .5 + 127 * 64 * .5 / 127
    np.testing.assert_allclose(scores, [16129.0, -np.inf, 95.5], rtol=1e-6)


def test_a_number_comes_back_within_half_a_step_of_its_row():
    _, rows, _ = sample(0)
    coded = Int8Rows.of(rows)
    off = np.abs(coded.float32() - rows)
    assert (off <= coded.scales[:, None] * 0.5001).all()
    assert coded.codes.min() >= -127
    again = Int8Rows.of(coded.float32())  # quantised rows are quantised already
    np.testing.assert_array_equal(again.codes, coded.codes)


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_within_the_stated_error(engine, seed):
    query, rows, offsets = sample(seed)
    exact = maxsim_ragged(query, (rows, offsets))
    coded = Int8Rows.of(rows)
    scores = maxsim_int8(query, coded, offsets, engine=engine)
    has_rows = np.diff(offsets) > 0
    assert (scores[~has_rows] == -np.inf).all()
    off = np.abs(scores[has_rows] - exact[has_rows])
    errors = quantisation_error(query, coded, offsets)
    assert (errors[~has_rows] == 0).all()
    assert (off <= errors[has_rows] + 1e-5 * np.abs(exact[has_rows])).all()
    assert errors.max() < 0.25 * np.abs(exact[has_rows]).max()  # a bound that says something


@pytest.mark.parametrize("seed", range(5))
def test_rankings_are_equal_but_for_gaps_below_the_error(engine, seed):
    query, rows, offsets = sample(seed)
    offsets = offsets[np.concatenate([[True], np.diff(offsets) > 0])]
    exact = maxsim_ragged(query, (rows, offsets))
    coded = Int8Rows.of(rows)
    scores = maxsim_int8(query, coded, offsets, engine=engine)
    errors = quantisation_error(query, coded, offsets)
    gaps = exact[:, None] - exact[None]
    certain = gaps > errors[:, None] + errors[None] + 1e-5
    assert certain.sum() > 100
    assert (scores[:, None] > scores[None])[certain].all()


def test_numpy_keeps_the_query_as_it_is():
    """Against rows that are whole steps already, nothing is lost but rounding of float32."""
    query, rows, offsets = sample(1)
    coded = Int8Rows.of(rows)
    expected = maxsim_ragged(query, (coded.float32(), offsets))
    np.testing.assert_allclose(maxsim_int8(query, coded, offsets, engine="numpy"), expected, rtol=1e-5)


def test_whole_numbers_do_not_overflow(engine):
    """The longest row that an index takes, with every number at the end of its range."""
    rows = Int8Rows.of(np.ones((2, 1 << 16), np.float32))
    scores = maxsim_int8(np.ones((1, 1 << 16), np.float32), rows, np.array([0, 2]), engine=engine)
    np.testing.assert_allclose(scores, [1 << 16], rtol=1e-5)


@pytest.mark.parametrize("numbers", [1, 40, 1000])
def test_the_size_of_a_block_changes_nothing_but_rounding(engine, monkeypatch, numbers):
    query, rows, offsets = sample(2)
    coded = Int8Rows.of(rows)
    whole = maxsim_int8(query, coded, offsets, engine=engine)
    monkeypatch.setattr("mmrag.scoring.ragged.BLOCK_NUMBERS", numbers)
    np.testing.assert_allclose(maxsim_int8(query, coded, offsets, engine=engine), whole, rtol=1e-5)


def test_rows_that_cannot_be_written_are_scored_in_place(engine):
    """As they come from a file that is mapped into memory."""
    query, rows, offsets = sample(3)
    coded = Int8Rows.of(rows)
    scores = maxsim_int8(query, coded, offsets, engine=engine)
    for array in (coded.codes, coded.scales):
        array.flags.writeable = False
    np.testing.assert_array_equal(maxsim_int8(query, coded, offsets, engine=engine), scores)


@pytest.mark.parametrize("part", [1, 7, 4096])
def test_rows_that_are_brought_together_are_scored_as_if_they_stood_so(engine, monkeypatch, part):
    query, rows, offsets = sample(6)
    coded = Int8Rows.of(rows)
    monkeypatch.setattr(int8, "GATHERED_ROWS", part)
    at = np.random.default_rng(0).permutation(len(rows))
    together = Int8Rows(coded.codes[at], coded.scales[at])
    expected = maxsim_int8(query, together, offsets, engine=engine)
    np.testing.assert_allclose(maxsim_int8(query, coded, offsets, at=at, engine=engine), expected, rtol=1e-5)
    nothing = maxsim_int8(query, coded, np.array([0]), at=at[:0], engine=engine)
    assert nothing.shape == (0,)


def test_packed_rows_have_the_scores_of_rows_as_they_stand(engine, monkeypatch):
    """Added in parts of all sizes; what was added before stays."""
    if engine == "numpy":
        monkeypatch.setattr(int8, "_numkong", lambda: None)
    monkeypatch.setattr(int8, "PACKED_ROWS", 64)
    rng = np.random.default_rng(0)
    for dim in (1, 3, 96):
        query, coded = (
            rng.standard_normal(dim).astype(np.float32),
            Int8Rows.of(rng.standard_normal((300, dim))),
        )
        packed = PackedRows(dim)
        assert packed.scores(query).shape == (0,)
        ends = [0, 1, 60, 64, 65, 200, 200, 300]
        for start, end in itertools.pairwise(ends):
            packed.append(coded.codes[start:end], coded.scales[start:end])
            assert len(packed) == end
            so_far = Int8Rows(coded.codes[:end], coded.scales[:end])
            expected = maxsim_int8(query[None], so_far, np.arange(end + 1), engine=engine)
            np.testing.assert_allclose(packed.scores(query), expected, rtol=1e-4, atol=1e-5)


def test_empty_sides_give_empty_scores(engine):
    nothing = Int8Rows.of(np.empty((0, 4), np.float32))
    assert maxsim_int8(np.ones((2, 4), np.float32), nothing, np.array([0]), engine=engine).shape == (0,)
    one = Int8Rows.of(np.ones((1, 4), np.float32))
    assert maxsim_int8(np.empty((0, 4), np.float32), one, np.array([0, 1]), engine=engine).tolist() == [0.0]


def test_the_engine_is_what_is_installed(monkeypatch):
    query, rows, offsets = sample(4)
    assert int8_engine() in ENGINES
    monkeypatch.setattr(int8, "_numkong", lambda: None)
    assert int8_engine() == "numpy"
    maxsim_int8(query, Int8Rows.of(rows), offsets)
    with pytest.raises(MissingExtraError, match=r"mmrag\[fast\]"):
        maxsim_int8(query, Int8Rows.of(rows), offsets, engine="numkong")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"engine": "fortran"}, "engine must be None or one of .* got 'fortran'"),
        ({"query": np.ones((2, 3), np.float32)}, r"one dim, got \(2, 3\) and"),
        ({"query": np.ones(32, np.float32)}, "must be 2D"),
        ({"offsets": np.array([0, 1])}, "offsets must rise from 0 to the number of rows"),
    ],
)
def test_wrong_arguments_are_refused(change, words):
    query, rows, offsets = sample(5)
    arguments = {"query": query, "rows": Int8Rows.of(rows), "offsets": offsets, **change}
    with pytest.raises(ValueError, match=words):
        maxsim_int8(**arguments)
