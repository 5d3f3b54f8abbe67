"""Tiles of tall and wide pictures: all of it covered, nothing found twice, nothing lost at a seam."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

pytest.importorskip("cv2", reason="the extra 'ocr' is not installed")

from mmrag.documents.ocr import tiles as ocr_tiles


def quad(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    """An upright rectangle as a quadrilateral."""
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=np.float32)


def test_a_page_is_one_tile_and_a_tall_picture_is_not_scaled_to_a_page():
    assert ocr_tiles.tile_ranges(1600, 1131) == [(0, 1600)]
    assert ocr_tiles.picture_side(595, 842, 1600) == 1600
    tall = ocr_tiles.picture_side(800, 9100, 1600)
    assert 800 / 9100 * tall >= 800  # its shorter side keeps its pixels
    assert ocr_tiles.picture_side(9100, 800, 1600) == tall
    longest = ocr_tiles.picture_side(100, 1_000_000, 1600)
    assert longest * longest * 100 / 1_000_000 <= ocr_tiles.MOST_TILES * 1600 * 1600


def test_tiles_cover_the_picture_and_overlap():
    randomness = random.Random(1)
    for _ in range(200):
        across = randomness.randint(1, 1500)
        length = randomness.randint(across, 40 * across)
        ranges = ocr_tiles.tile_ranges(length, across)
        assert (ranges[0][0], ranges[-1][1]) == (0, length)
        for (start, end), (next_start, next_end) in itertools.pairwise(ranges):
            assert start < next_start < end < next_end
            assert end - next_start >= 0.9 * ocr_tiles.OVERLAP * (end - start)


def seen(line: np.ndarray, start: int, end: int, axis: int) -> np.ndarray | None:
    """The part of a line that a tile sees, if it is more than 3 pixels high."""
    part = line.copy()
    part[:, axis] = np.clip(part[:, axis], start, end)
    return part if np.ptp(part, axis=0).min() > 3 else None


@pytest.mark.parametrize("axis", [0, 1])
def test_lines_at_seams_are_found_once_and_whole(axis):
    randomness = random.Random(2)
    for _ in range(8):
        ranges = ocr_tiles.tile_ranges(6000, 700)
        lines = []
        y = 10
        while y < (5900 if axis else 650):
            height = randomness.randint(15, 60)
            if axis:
                lines.append(quad(20, y, randomness.randint(100, 690), y + height))
            else:  # long lines that run over several seams
                lines.append(quad(10, y, randomness.randint(100, 5990), y + height))
            y += height + 12
        by_tile = [
            [part for line in lines if (part := seen(line, start, end, axis)) is not None]
            for start, end in ranges
        ]
        joined = ocr_tiles.join_seams(by_tile, ranges, axis)
        assert len(joined) == len(lines)
        boxes = sorted(
            (np.hstack([one.min(axis=0), one.max(axis=0)]) for one in joined), key=lambda box: box[1]
        )
        expected = [np.hstack([one.min(axis=0), one.max(axis=0)]) for one in lines]
        np.testing.assert_allclose(boxes, expected, atol=1.5)
