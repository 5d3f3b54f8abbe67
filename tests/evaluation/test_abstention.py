"""AUC by counting pairs, and a curve by counting questions."""

import random
from itertools import pairwise

import pytest

from mmrag.evaluation.abstention import SHOWN_SILENCE, auc, auc_figure, curve, point_at, shown_points


def drawn(seed, count):
    """Confidences with ties, answerable ones a little larger."""
    rng = random.Random(seed)
    positive = [round(min(1, rng.random() + 0.2), 1) for _ in range(count)]
    negative = [round(rng.random(), 1) for _ in range(count // 2)]
    return positive, negative, [rng.random() < 0.6 for _ in positive]


def test_areas_by_hand():
    assert auc([0.9, 0.8], [0.1]) == 1
    assert auc([0.1], [0.9, 0.8]) == 0
    assert auc([0.5], [0.5]) == 0.5
    assert auc([0.9, 0.4], [0.5, 0.4]) == pytest.approx((2 + 0.5) / 4)
    with pytest.raises(ValueError, match="got 0 positive and 1 negative"):
        auc([], [0.5])


def test_area_is_the_share_of_pairs():
    for seed in range(20):
        positive, negative, _ = drawn(seed, 30)
        points = 0.0
        for yes in positive:
            for no in negative:
                points += 1 if yes > no else 0.5 if yes == no else 0
        share = points / (len(positive) * len(negative))
        assert auc(positive, negative) == pytest.approx(share)
        figure = auc_figure(positive, negative, samples=200, seed=seed)
        assert figure.mean == pytest.approx(share)
        assert figure.low <= share <= figure.high
        assert figure == auc_figure(positive, negative, samples=200, seed=seed)


def test_every_point_of_a_curve_counts_questions():
    positive, negative, pages = drawn(1, 40)
    points = curve(positive, negative, pages)
    assert (points[0].answered, points[0].silent) == (1, 0)
    assert (points[-1].answered, points[-1].silent, points[-1].first_page) == (0, 1, None)
    for point in points:
        answered = [right for c, right in zip(positive, pages, strict=True) if c >= point.threshold]
        assert point.answered == pytest.approx(len(answered) / len(positive))
        silent = sum(c < point.threshold for c in negative)
        assert point.silent == pytest.approx(silent / len(negative))
        if answered:
            assert point.first_page == pytest.approx(sum(answered) / len(answered))
        assert point == point_at(point.threshold, positive, negative, pages)
        assert point.balance == pytest.approx((point.answered + point.silent) / 2)


def test_the_area_under_the_curve_is_the_auc():
    """Trapezoids under (share of unanswerable answered, share of answerable answered) give the same area."""
    positive, negative, pages = drawn(2, 60)
    points = sorted((1 - point.silent, point.answered) for point in curve(positive, negative, pages))
    area = sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in pairwise(points))
    assert area == pytest.approx(auc(positive, negative))


def test_the_table_has_every_share_once():
    positive, negative, pages = drawn(3, 80)
    points = shown_points(curve(positive, negative, pages))
    assert points[0].silent == 0
    assert points[-1].silent == 1
    assert len(points) == len(set(points)) <= len(SHOWN_SILENCE)
    shares = [point.silent for point in points]
    assert shares == sorted(shares)
    for share in SHOWN_SILENCE:
        nearest = next(point for point in curve(positive, negative, pages) if point.silent >= share)
        assert nearest in points
