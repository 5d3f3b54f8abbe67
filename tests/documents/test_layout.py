"""Reading order and boxes."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from mmrag.documents.layout import clip_box, join_rows, reading_order, words_of_run
from mmrag.documents.renderer import fit_scale
from mmrag.types import Word


def flat(order):
    return [index for block in order for index in block]


def test_two_columns_are_not_read_across():
    #   0: title over both        1 3
    #                             2 4   left column first
    boxes = [
        (0.1, 0.05, 0.9, 0.07),
        (0.1, 0.20, 0.48, 0.22),
        (0.1, 0.23, 0.48, 0.25),
        (0.52, 0.20, 0.9, 0.22),
        (0.52, 0.23, 0.9, 0.25),
    ]
    shuffled = [3, 0, 4, 2, 1]
    order = flat(reading_order([boxes[i] for i in shuffled]))
    assert [shuffled[i] for i in order] == [0, 1, 2, 3, 4]


def test_a_table_is_read_row_by_row():
    boxes = [(x, y, x + 0.05, y + 0.02) for y in (0.1, 0.13, 0.16) for x in (0.1, 0.4, 0.7)]
    shuffled = list(range(9))
    random.Random(0).shuffle(shuffled)
    order = flat(reading_order([boxes[i] for i in shuffled]))
    assert [shuffled[i] for i in order] == list(range(9))


def test_columns_with_a_full_width_line_between():
    boxes = [
        (0.1, 0.10, 0.48, 0.12),
        (0.52, 0.10, 0.9, 0.12),
        (0.1, 0.30, 0.9, 0.32),
        (0.1, 0.40, 0.48, 0.42),
        (0.52, 0.40, 0.9, 0.42),
    ]
    assert flat(reading_order(boxes)) == [0, 1, 2, 3, 4]


unit = st.floats(0, 1, allow_nan=False)


@given(st.lists(st.tuples(unit, unit, unit, unit), max_size=25))
def test_order_is_a_permutation(corners):
    boxes = [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in corners]
    assert sorted(flat(reading_order(boxes))) == list(range(len(boxes)))


def test_clip_box_keeps_what_is_on_the_page():
    assert clip_box((-0.1, 0.2, 0.3, 0.4)) == (0.0, 0.2, 0.3, 0.4)
    assert clip_box((0.3, 0.4, 0.1, 0.2)) == (0.1, 0.2, 0.3, 0.4), "corners in any order"
    assert clip_box((-0.5, 0.2, 0.3, 0.4)) is None, "its middle is off the page"
    assert clip_box((0.3, 0.2, 0.3, 0.4)) is None, "no area"


def test_words_of_a_run_share_its_width():
    words = words_of_run("ab  c", (0.0, 0.0, 0.5, 0.1))
    assert [(word.text, round(word.box[0], 3), round(word.box[2], 3)) for word in words] == [
        ("ab", 0.0, 0.2),
        ("c", 0.4, 0.5),
    ]


def test_cells_beside_each_other_are_one_line():
    left, right = Word("Sales", (0.1, 0.1, 0.2, 0.12)), Word("24.1", (0.5, 0.101, 0.6, 0.121))
    below = Word("Costs", (0.1, 0.13, 0.2, 0.15))
    assert join_rows([[left], [right], [below]]) == ((left, right), (below,))


@given(st.floats(0.1, 50_000), st.floats(0.1, 50_000), st.integers(1, 10_000_000))
def test_a_picture_never_has_more_pixels_than_its_budget(width, height, budget):
    import math

    scale = fit_scale(width, height, budget)
    across, down = max(1, math.ceil(width * scale)), max(1, math.ceil(height * scale))
    assert across * down <= budget or min(width, height) * scale < 1
