"""Laws of boxes; areas are counted again on a grid of pixels."""

import numpy as np
import pytest

from mmrag.evaluation.boxes import PlacedBox, iou, joined_lines, on_shared_pages, score_boxes, union_area

GRID = 40


def drawn_boxes(rng, count):
    """Boxes whose edges lie on the grid, so that counting pixels is exact."""
    corners = np.sort(rng.choice(GRID + 1, size=(count, 2, 2)), axis=1)
    corners[:, 1] = np.where(corners[:, 1] == corners[:, 0], corners[:, 1] + 1, corners[:, 1])
    return [tuple((corner / (GRID + 1)).reshape(-1).tolist()) for corner in corners]


def pixels(boxes):
    mask = np.zeros((GRID + 2, GRID + 2), bool)
    for box in boxes:
        x0, y0, x1, y1 = (round(edge * (GRID + 1)) for edge in box)
        mask[y0:y1, x0:x1] = True
    return mask


def placed(boxes, page=0):
    return [PlacedBox("a.pdf", page, box) for box in boxes]


def test_half_of_a_box():
    assert iou((0, 0, 0.4, 0.4), (0, 0, 0.4, 0.2)) == pytest.approx(0.5)
    assert iou((0, 0, 0.4, 0.4), (0.4, 0, 0.8, 0.4)) == 0  # they touch
    assert iou((0.1, 0.1, 0.1, 0.5), (0.1, 0.1, 0.1, 0.5)) == 0  # no area


def test_areas_equal_counted_pixels():
    rng = np.random.default_rng(0)
    for _ in range(100):
        mine, gold = drawn_boxes(rng, int(rng.integers(1, 6))), drawn_boxes(rng, int(rng.integers(1, 6)))
        a, b = pixels(mine[:1]), pixels(gold[:1])
        assert iou(mine[0], gold[0]) == pytest.approx((a & b).sum() / (a | b).sum())
        cell = (GRID + 1) ** 2
        assert union_area(mine) == pytest.approx(pixels(mine).sum() / cell)
        assert union_area(mine, gold) == pytest.approx((pixels(mine) & pixels(gold)).sum() / cell)
        coverage = (pixels(mine) & pixels(gold)).sum() / pixels(mine).sum()
        assert score_boxes(placed(mine), placed(gold))["coverage"] == pytest.approx(coverage)


def test_figures_by_hand():
    """Two boxes are marked: one cited box is the first exactly, one lies inside the second, one is off."""
    gold = placed([(0.1, 0.1, 0.5, 0.2), (0.1, 0.5, 0.5, 0.9)])
    cited = placed([(0.1, 0.1, 0.5, 0.2), (0.1, 0.5, 0.28, 0.82), (0.6, 0.1, 0.8, 0.2)])
    figures = score_boxes(cited, gold)
    # the second cited box has 0.0576 of 0.16: IoU 0.36
    assert (figures["recall@0.25"], figures["recall@0.5"]) == (1, 0.5)
    assert figures["precision@0.25"] == pytest.approx(2 / 3)
    assert figures["precision@0.5"] == pytest.approx(1 / 3)
    assert figures["f1@0.5"] == pytest.approx(2 * 0.5 * (1 / 3) / (0.5 + 1 / 3))
    assert figures["coverage"] == pytest.approx((0.04 + 0.0576) / (0.04 + 0.0576 + 0.02))
    assert figures["centre"] == pytest.approx(2 / 3)
    assert figures["inside"] == pytest.approx(1 / 2)


def test_other_pages_and_files_do_not_meet():
    box = (0.1, 0.1, 0.5, 0.2)
    gold = [PlacedBox("a.pdf", 1, box)]
    for stranger in (PlacedBox("a.pdf", 2, box), PlacedBox("b.pdf", 1, box)):
        assert set(score_boxes([stranger], gold).values()) == {0.0}
    cited = [PlacedBox("a.pdf", 2, box), *gold]
    assert score_boxes(cited, gold)["coverage"] == pytest.approx(0.5)
    mine, theirs = on_shared_pages(cited, [*gold, PlacedBox("a.pdf", 9, box)])
    assert (mine, theirs) == (gold, gold)
    assert set(score_boxes(mine, theirs).values()) == {1.0}


def test_nothing_cited_is_zero_and_nothing_marked_is_refused():
    assert set(score_boxes([], placed([(0, 0, 1, 1)])).values()) == {0.0}
    with pytest.raises(ValueError, match="at least one marked box, got none"):
        score_boxes(placed([(0, 0, 1, 1)]), [])


def test_a_box_cited_twice_counts_once():
    gold, off = placed([(0.1, 0.1, 0.5, 0.2)]), placed([(0.6, 0.6, 0.9, 0.9)])
    assert score_boxes([*gold, *off, *off], gold)["precision@0.5"] == 0.5


def line(x0, row, x1, height=0.02):
    return (x0, row * 0.025, x1, row * 0.025 + height)


def test_lines_of_a_paragraph_become_its_box():
    lines = [line(0.1, 4, 0.5), line(0.1, 5, 0.5), line(0.1, 6, 0.3)]
    assert joined_lines(lines) == ((0.1, 0.1, 0.5, pytest.approx(0.17)),)


def test_pieces_of_one_line_are_joined():
    """Cells of a row: a gap to the right is no break."""
    assert joined_lines([line(0.1, 4, 0.2), line(0.7, 4, 0.9)]) == ((0.1, 0.1, 0.9, pytest.approx(0.12)),)


def test_a_column_break_and_a_jump_begin_a_new_box():
    first, second = line(0.1, 30, 0.45), line(0.55, 4, 0.9)
    assert joined_lines([first, second]) == (first, second)
    header, row = line(0.1, 4, 0.9), line(0.1, 12, 0.9)
    assert joined_lines([header, row]) == (header, row)
    assert joined_lines([]) == ()
