"""How well a confidence tells questions that the documents answer from those that they do not.

A *threshold* t means: answer where the confidence is at least t. `curve` gives what every threshold would do,
`auc` one number for all of them: the probability that an answerable question has the larger confidence, ties
counting half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from mmrag.evaluation.figures import Figure

Values: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
Flags: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"


SHOWN_SILENCE = (0.0, 0.25, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
"""Silent shares of a table's rows: where an answerer is of use, they are close."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What a threshold does; shares are 0..1.

    Attributes:
        threshold: the smallest confidence that is answered.
        answered: of the answerable questions.
        silent: of the unanswerable ones.
        first_page: of the answerable ones that are answered, those whose first quote is on an evidence page;
            None if nothing is answered.
    """

    threshold: float
    answered: float
    silent: float
    first_page: float | None

    @property
    def balance(self) -> float:
        """Return the mean of both shares, balanced accuracy; 0.5 is chance."""
        return (self.answered + self.silent) / 2


def auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Compute the area under the ROC curve: how often a positive lies above a negative, ties half.

    Raises:
        ValueError: there is none of one kind.
    """
    return float(_wins(positive, negative).mean())


def auc_figure(
    positive: Sequence[float],
    negative: Sequence[float],
    *,
    samples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Figure:
    """Compute `auc` with its bootstrap interval; both kinds of questions are resampled apart."""
    wins = _wins(positive, negative)
    rng = np.random.default_rng(seed)
    rows, columns = (rng.multinomial(n, np.full(n, 1 / n), size=samples) / n for n in wins.shape)
    areas = ((rows @ wins) * columns).sum(axis=1)
    low, high = np.quantile(areas, ((1 - level) / 2, (1 + level) / 2))
    return Figure(float(wins.mean()), float(low), float(high))


def curve(
    positive: Sequence[float], negative: Sequence[float], first_page: Sequence[bool]
) -> list[CurvePoint]:
    """Compute what every threshold does that makes a difference, smallest first.

    Args:
        positive: confidences of answerable questions.
        negative: of unanswerable ones.
        first_page: whether the first quote of an answerable question is on an evidence page.
    """
    yes, no = np.asarray(positive, float), np.asarray(negative, float)
    pages = np.asarray(first_page, bool)
    thresholds = np.unique(np.concatenate([yes, no]))
    return [_point(float(t), yes, no, pages) for t in (*thresholds, np.nextafter(thresholds[-1], np.inf))]


def point_at(
    threshold: float, positive: Sequence[float], negative: Sequence[float], first_page: Sequence[bool]
) -> CurvePoint:
    """Compute what one threshold does; arguments as for `curve`."""
    return _point(
        threshold, np.asarray(positive, float), np.asarray(negative, float), np.asarray(first_page, bool)
    )


def shown_points(points: Sequence[CurvePoint]) -> list[CurvePoint]:
    """Choose the points of a table: the first that reaches each silent share of `SHOWN_SILENCE`."""
    selection = [next(point for point in points if point.silent >= share - 1e-9) for share in SHOWN_SILENCE]
    return list(dict.fromkeys(selection))


def _point(threshold: float, yes: Values, no: Values, pages: Flags) -> CurvePoint:
    answered = yes >= threshold
    right = float(pages[answered].mean()) if answered.any() else None
    return CurvePoint(threshold, float(answered.mean()), float((no < threshold).mean()), right)


def _wins(positive: Sequence[float], negative: Sequence[float]) -> Values:
    """Return 1, 0.5 or 0 for each pair, ``(positives, negatives)``."""
    if not len(positive) or not len(negative):
        raise ValueError(
            f"both kinds must have a question, got {len(positive)} positive and {len(negative)} negative."
        )
    yes, no = np.asarray(positive, float)[:, None], np.asarray(negative, float)[None, :]
    return np.where(yes == no, 0.5, yes > no)
