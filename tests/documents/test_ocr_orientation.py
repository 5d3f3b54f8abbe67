"""Turns of pages and lines, with a recogniser that is sure of one direction only."""

from __future__ import annotations

import random

import numpy as np
import pytest

pytest.importorskip("cv2", reason="the extra 'ocr' is not installed")

from mmrag.documents.ocr import orientation as ocr_orientation
from mmrag.documents.ocr.lines import Line, in_direction


def quad(x: float, y: float, width: float, height: float) -> np.ndarray:
    """An upright rectangle as a quadrilateral."""
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], dtype=np.float32)


class Reader:
    """Reads a line well in its own direction; counts what it reads."""

    def __init__(self, quads, directions, good=0.99, bad=0.6):
        self.right = {
            in_direction(one, direction).tobytes() for one, direction in zip(quads, directions, strict=True)
        }
        self.good, self.bad = good, bad
        self.count = 0

    def __call__(self, corner_list):
        self.count += len(corner_list)
        return [
            Line(corners, "text text", self.good if corners.tobytes() in self.right else self.bad)
            for corners in corner_list
        ]


@pytest.mark.parametrize("direction", range(4))
def test_the_direction_of_a_page_is_found(direction):
    size = (300, 20) if direction in (0, 2) else (20, 300)
    quads = [quad(30 * row, 30 * row, *size) for row in range(12)]
    reader = Reader(quads, [direction] * 12)
    turns, lines = ocr_orientation.picture_direction(quads, reader)
    assert turns == direction
    assert len(lines) == ocr_orientation.SAMPLE
    assert reader.count == ocr_orientation.SAMPLE * (1 if direction in (0, 1) else 2)


def test_an_upright_page_is_read_once():
    quads = [quad(10, 30 * row, 300, 20) for row in range(40)]
    reader = Reader(quads, [0] * 40)
    turns, lines = ocr_orientation.picture_direction(quads, reader)
    lines = ocr_orientation.read_lines(quads, lines, reader)
    assert (turns, len(lines), reader.count) == (0, 40, 40)


def test_a_page_that_reads_badly_stays_as_it_lies():
    quads = [quad(10, 30 * row, 300, 20) for row in range(10)]
    assert ocr_orientation.picture_direction(quads, Reader(quads, [2] * 10, good=0.65))[0] == 0
    tall = [quad(30 * row, 10, 20, 300) for row in range(10)]
    assert ocr_orientation.picture_direction(tall, Reader(tall, [0] * 10, bad=0.5)) == (0, {})


def test_single_lines_are_turned_where_that_reads_better():
    quads = [quad(10, 30 * row, 300, 20) for row in range(6)] + [
        quad(400, 10, 20, 300),
        quad(440, 10, 12, 20),
    ]
    directions = [0, 0, 2, 0, 0, 0, 3, 0]
    lines = ocr_orientation.read_lines(quads, {}, Reader(quads, directions))
    for position, direction in enumerate(directions):
        np.testing.assert_array_equal(lines[position].corners, in_direction(quads[position], direction))
        assert lines[position].confidence == 0.99


def test_a_turn_that_reads_hardly_better_is_not_taken():
    quads = [quad(10, 10, 300, 20)]
    lines = ocr_orientation.read_lines(quads, {}, Reader(quads, [2], good=0.65, bad=0.6))
    np.testing.assert_array_equal(lines[0].corners, quads[0])


def test_lines_without_time_are_left_out():
    quads = [quad(10, 30 * row, 300, 20) for row in range(3)]
    lines = ocr_orientation.read_lines(quads, {}, lambda corner_list: [None] * len(corner_list))
    assert lines == {}


def test_boxes_of_a_turned_picture_are_those_of_its_pixels():
    """Against numpy: a bright rectangle is turned with the picture, and its box is turned back."""
    randomness = random.Random(4)
    for _ in range(40):
        picture = np.zeros((60, 90), dtype=np.uint8)
        x0, y0 = randomness.randrange(80), randomness.randrange(50)
        x1, y1 = randomness.randint(x0 + 1, 90), randomness.randint(y0 + 1, 60)
        picture[y0:y1, x0:x1] = 1
        for turns in range(4):
            turned = np.rot90(picture, turns)
            rows, columns = np.nonzero(turned)
            height, width = turned.shape
            left, right = columns.min() / width, (columns.max() + 1) / width
            box = (left, rows.min() / height, right, (rows.max() + 1) / height)
            back = ocr_orientation.turned_box(box, turns)
            assert back == pytest.approx((x0 / 90, y0 / 60, x1 / 90, y1 / 60))
            assert ocr_orientation.turned_box(back, -turns) == pytest.approx(box)
