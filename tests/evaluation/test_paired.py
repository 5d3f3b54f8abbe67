"""The paired test: by hand, against every pattern of signs, and against SciPy's permutation test."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mmrag.evaluation import paired_test
from mmrag.evaluation.paired import sign_flip_p


def p_by_enumeration(differences) -> float:
    """Every pattern of signs of all questions, also of those that do not differ."""
    observed = abs(sum(differences))
    sums = [
        abs(sum(sign * value for sign, value in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return sum(value >= observed - 1e-9 for value in sums) / len(sums)


def test_three_better_and_none_worse_is_a_quarter() -> None:
    """Of eight patterns of three signs, all plus and all minus are as far from zero."""
    assert sign_flip_p(np.array([1.0, 1.0, 1.0, 0.0])) == 2 / 8


def test_no_difference_is_certain_chance() -> None:
    assert sign_flip_p(np.zeros(5)) == 1.0
    test = paired_test(np.ones(5), np.ones(5))
    assert (test.p, test.is_real, test.better, test.worse, test.visible) == (1.0, False, 0, 0, 0.0)


@pytest.mark.parametrize("seed", range(12))
def test_p_equals_enumeration(seed: int) -> None:
    rng = np.random.default_rng(seed)
    differences = rng.choice([-1.0, -0.37, 0.0, 0.0, 0.37, 0.63, 1.0], size=int(rng.integers(1, 11)))
    assert sign_flip_p(differences) == pytest.approx(p_by_enumeration(differences), abs=1e-12)
    assert sign_flip_p(-differences) == sign_flip_p(differences)


@pytest.mark.parametrize("seed", range(6))
def test_p_equals_scipys_exact_permutation_test(seed: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    differences = np.random.default_rng(seed).normal(0.3, 1, size=9)
    theirs = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert sign_flip_p(differences) == pytest.approx(theirs.pvalue, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_drawn_signs_come_near_every_pattern(seed: int) -> None:
    """10,000 draws have a standard error of at most .005."""
    differences = np.random.default_rng(seed).normal(0.25, 1, size=12)
    drawn = sign_flip_p(differences, exact=0, seed=seed)
    assert drawn == pytest.approx(sign_flip_p(differences), abs=0.02)
    assert drawn == sign_flip_p(differences, exact=0, seed=seed)


def test_chance_is_called_real_about_one_time_in_twenty() -> None:
    rng = np.random.default_rng(3)
    runs = [paired_test(rng.random(40), rng.random(40), samples=300, seed=n).is_real for n in range(200)]
    assert sum(runs) <= 20  # 10 expected, standard deviation 3


def test_a_difference_of_the_visible_size_is_found_four_times_in_five() -> None:
    rng = np.random.default_rng(5)
    visible = paired_test(np.zeros(200), rng.normal(0, 0.4, 200)).visible
    assert visible == pytest.approx(2.8 * 0.4 / 200**0.5, rel=0.15)
    runs = [sign_flip_p(rng.normal(visible, 0.4, 200), draws=400, seed=n) < 0.05 for n in range(150)]
    assert 0.68 <= np.mean(runs) <= 0.92


def test_figures_by_hand() -> None:
    test = paired_test(np.array([0.0, 0.5, 1.0, 1.0]), np.array([1.0, 1.0, 1.0, 0.5]))
    assert (test.count, test.before, test.after, test.better, test.worse) == (4, 0.625, 0.875, 2, 1)
    assert test.gain.mean == pytest.approx(0.25)
    assert test.gain.low <= 0.25 <= test.gain.high


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="must be 1D of the same questions"):
        paired_test(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match="draws at least 1"):
        sign_flip_p(np.zeros(3), draws=0)
