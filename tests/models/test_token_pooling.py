"""Pooling of tokens: rows stay within the budget, and the clusters are those of the published method."""

import numpy as np
import pytest

from mmrag.models.token_pooling import cluster, level_sizes, pool_levels, pool_tokens


def unit(rows, dim=16, seed=0, groups=0):
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(rows, dim))
    if groups:
        matrix += 2 * random.normal(size=(groups, dim))[random.integers(0, groups, rows)]
    return (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)


def slow_clusters(matrix, count):
    """Ward's method by its definition: join the pair that adds least to the sum of squared distances."""
    values = matrix.astype(np.float64)
    features = 1 - values @ values.T
    groups = [[place] for place in range(len(matrix))]

    def spread(group):
        return ((features[group] - features[group].mean(0)) ** 2).sum()

    while len(groups) > count:
        pairs = [(a, b) for a in range(len(groups)) for b in range(a + 1, len(groups))]
        cost = [spread(groups[a] + groups[b]) - spread(groups[a]) - spread(groups[b]) for a, b in pairs]
        a, b = pairs[int(np.argmin(cost))]
        groups[a] += groups.pop(b)
    return sorted(sorted(group) for group in groups)


def as_groups(labels):
    return sorted(np.flatnonzero(labels == label).tolist() for label in range(labels.max() + 1))


def test_two_bundles_of_tokens_become_their_two_means():
    left, right = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    near = np.array([0.98, np.sqrt(1 - 0.98**2)])
    pooled = pool_tokens(np.stack([right, left, near, right]).astype(np.float32), 2)

    mean = (left + near) / np.linalg.norm(left + near)
    np.testing.assert_allclose(pooled, [right, mean], atol=1e-6)  # in the order of their first tokens


@pytest.mark.parametrize("count", [1, 2, 5, 11])
@pytest.mark.parametrize("seed", range(4))
def test_clusters_are_those_of_wards_definition(seed, count):
    matrix = unit(12, seed=seed, groups=3)

    assert as_groups(cluster(matrix, count)) == slow_clusters(matrix, count)


def test_rows_stay_within_the_budget_and_have_length_one():
    for rows in (1, 2, 63, 64, 65, 200):
        pooled = pool_tokens(unit(200, seed=rows), rows)
        assert pooled.shape == (min(rows, 200), 16) and pooled.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(pooled, axis=1), 1, atol=1e-6)


def test_a_page_within_the_budget_is_left_alone():
    matrix = unit(10)

    assert pool_tokens(matrix, 10) is matrix


def test_tokens_that_are_the_same_take_one_row():
    blank = np.repeat(unit(1), 90, axis=0)
    pooled = pool_tokens(np.concatenate([blank, unit(10, seed=1)]), 64)

    assert len(pooled) == 11


def test_pooling_does_not_depend_on_the_order_of_tokens():
    matrix = unit(120, seed=3, groups=8)
    turned = matrix[np.random.default_rng(1).permutation(120)]

    ordered = [np.sort(pool_tokens(rows, 16), axis=0) for rows in (matrix, turned)]
    np.testing.assert_allclose(*ordered, atol=1e-6)


def test_a_matrix_with_nan_is_left_for_the_caller_to_refuse():
    matrix = unit(10)
    matrix[3, 4] = np.nan

    assert pool_tokens(matrix, 5) is matrix


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        pool_tokens(unit(3), 0)


# ---- levels --------------------------------------------------------------------------------------------


def test_levels_grow_by_four_and_the_last_takes_what_is_left():
    assert [level_sizes(rows) for rows in (1, 2, 5, 6, 21, 30, 64)] == [
        [1], [1, 1], [1, 4], [1, 5], [1, 4, 16], [1, 4, 25], [1, 4, 16, 43],
    ]  # fmt: skip
    for rows in range(1, 300):
        assert sum(level_sizes(rows)) == rows


def test_the_first_row_is_the_page_and_the_next_are_its_parts():
    left, right = np.array([[1.0, 0.0]] * 3), np.array([[0.0, 1.0]] * 3)
    rows = pool_levels(np.concatenate([left, right]).astype(np.float32), 5)

    np.testing.assert_allclose(rows[0], [np.sqrt(0.5)] * 2, atol=1e-6)
    assert {tuple(np.round(row, 5)) for row in rows[1:]} == {(1.0, 0.0), (0.0, 1.0)}


@pytest.mark.parametrize("seed", range(5))
def test_clusters_of_a_level_are_unions_of_clusters_of_the_next(seed):
    matrix = unit(60, seed=seed, groups=7)
    rows = pool_levels(matrix, 21, position_weight=0.2)

    assert rows.shape == (21, 16)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(pool_levels(matrix, 5, position_weight=0.2), rows[:5], atol=1e-6)


def test_equal_tokens_far_apart_part_by_their_place_alone():
    token = unit(1)
    matrix = np.repeat(token, 8, axis=0)
    positions = np.array([[0.0, 0.0]] * 4 + [[1.0, 1.0]] * 4)

    assert len(pool_levels(matrix, 5, positions, 0.5)) == 1 + 2
    assert len(pool_levels(matrix, 5, positions, 0.0)) == 1 + 1


def test_levels_refuse_what_they_cannot_use():
    matrix = unit(8)
    with pytest.raises(ValueError, match="position_weight must be"):
        pool_levels(matrix, 4, position_weight=1.5)
    with pytest.raises(ValueError, match="positions must be one a token"):
        pool_levels(matrix, 4, np.zeros((7, 2)))
    assert np.isnan(pool_levels(np.full((3, 2), np.nan, np.float32), 2)).all()
    assert pool_levels(unit(1), 5).shape == (1, 16)
