"""The paired test of two runs on the same questions: whether their difference is real or luck.

Two answers, since each assumes something else:

* the percentile bootstrap over questions says how large it would be on other questions like these;
* the sign-flip permutation test says how often one at least as large comes about when a coin decides,
  question by question, which run is which. It is exact where few questions differ, else drawn.

A difference counts as real if both agree: zero is outside the 95 % interval, and p is below .05.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmrag.evaluation.figures import Figure
from mmrag.evaluation.metrics import bootstrap_interval

LEVEL = 0.05
"""p below which a difference counts as real."""
EXACT = 14
"""Differing questions up to which every pattern of signs is counted: 2 ** 14 of them."""
DRAWS = 10_000
"""Random patterns of signs beyond that."""
VISIBLE_ERRORS = 2.8
"""Standard errors of a difference that a test at the level .05 finds four times in five (1.96 + 0.84)."""
_BLOCK = 4_000_000
"""Signs held at once."""


@dataclass(frozen=True, slots=True)
class PairedTest:
    """What a paired test says.

    Attributes:
        count: questions.
        before, after: means.
        gain: mean of the differences, after minus before, and its bootstrap interval.
        p: of the permutation test, two-sided; 1.0 where no question differs.
        better, worse: questions on which `after` is higher, and lower.
        visible: the smallest mean difference that would be found four times in five, if questions differ as
            much from each other as here; 0.0 where no question differs.
    """

    count: int
    before: float
    after: float
    gain: Figure
    p: float
    better: int
    worse: int
    visible: float

    @property
    def is_real(self) -> bool:
        """Whether interval and p agree that the runs differ."""
        return self.p < LEVEL and (self.gain.low > 0 or self.gain.high < 0)


def paired_test(
    before: NDArray[np.float64], after: NDArray[np.float64], *, samples: int = 2000, seed: int = 0
) -> PairedTest:
    """Compare two runs, question by question.

    Args:
        before: ``(questions,)``, a figure each.
        after: ``(questions,)``, of the same questions in the same order.
        samples: bootstrap resamples.
        seed: of the bootstrap, and of the signs where they are drawn.

    Raises:
        ValueError: the shapes differ, or there is no question.
    """
    if before.ndim != 1 or before.shape != after.shape or not len(before):
        raise ValueError(
            "before and after must be 1D of the same questions, at least one, got shapes "
            f"{before.shape} and {after.shape}."
        )
    differences = after - before
    low, high = bootstrap_interval(differences[:, None], samples=samples, seed=seed)
    deviation = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    return PairedTest(
        count=len(differences),
        before=float(before.mean()),
        after=float(after.mean()),
        gain=Figure(float(differences.mean()), float(low[0]), float(high[0])),
        p=sign_flip_p(differences, seed=seed),
        better=int((differences > 0).sum()),
        worse=int((differences < 0).sum()),
        visible=VISIBLE_ERRORS * deviation / len(differences) ** 0.5,
    )


def sign_flip_p(
    differences: NDArray[np.float64], *, exact: int = EXACT, draws: int = DRAWS, seed: int = 0
) -> float:
    """Compute the two-sided p of a mean difference under random signs, above 0 and at most 1.

    Questions without a difference count for nothing: a sign does not change them. Sums within 1e-9 of the
    observed one count as large, so that the rounding of floats decides nothing.

    Args:
        differences: ``(questions,)``.
        exact: differing questions up to which every pattern of signs is counted.
        draws: patterns beyond that; the observed one counts as a further one: p is at least 1 / (draws + 1).
        seed: of the draws.

    Raises:
        ValueError: `differences` is not 1D, or `draws` is below 1.
    """
    if differences.ndim != 1 or draws < 1:
        raise ValueError(
            f"differences must be 1D and draws at least 1, got shape {differences.shape} and {draws} draws."
        )
    changes = differences[differences != 0]
    least = abs(float(changes.sum())) - 1e-9 * max(1.0, float(np.abs(changes).sum()))
    if len(changes) <= exact:
        patterns = np.arange(2 ** len(changes))[:, None] >> np.arange(len(changes)) & 1
        return float((np.abs((1 - 2 * patterns) @ changes) >= least).mean())
    rng = np.random.default_rng(seed)
    large_count = draw_count = 0
    while draw_count < draws:
        rows = min(draws - draw_count, max(1, _BLOCK // len(changes)))
        signs = 1 - 2 * rng.integers(0, 2, size=(rows, len(changes)), dtype=np.int8)
        large_count += int((np.abs(signs @ changes) >= least).sum())
        draw_count += rows
    return (large_count + 1) / (draws + 1)
