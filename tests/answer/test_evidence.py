"""Evidence pictures: what is marked, what is left alone, and that it can be looked at."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mmrag.answer.evidence import OUTLINE, READING_SIDE, draw_evidence, evidence_png

WHITE = (255, 255, 255)


def paper(size=(800, 1000)):
    return Image.new("RGB", size, WHITE)


def outline_mask(image):
    return np.abs(np.asarray(image).astype(int) - np.array(OUTLINE)).sum(axis=2) < 40


def test_the_box_is_tinted_outlined_and_the_rest_is_not():
    drawn = draw_evidence(paper(), [(0.25, 0.4, 0.75, 0.45)])
    inside, outside = drawn.getpixel((400, 425)), drawn.getpixel((400, 700))
    assert inside[2] < inside[0] - 20  # yellow
    assert max(outside) - min(outside) < 8  # still grey
    assert min(outside) > 240  # and still light
    edge = outline_mask(drawn)
    assert edge[400:450, 190:200].any()
    assert not edge[500:, :].any()


def test_black_text_stays_black_under_the_tint():
    page = paper()
    ImageDraw.Draw(page).rectangle((300, 410, 500, 440), fill=(0, 0, 0))
    assert max(draw_evidence(page, [(0.25, 0.4, 0.75, 0.45)]).getpixel((400, 425))) < 12


def test_the_picture_given_is_not_changed():
    page = paper()
    draw_evidence(page, [(0.1, 0.1, 0.4, 0.2)], label="1")
    assert page.getextrema() == ((255, 255),) * 3


def test_lines_of_a_paragraph_become_one_box_and_distant_ones_stay_apart():
    lines = [(0.1, 0.10, 0.8, 0.118), (0.1, 0.118, 0.8, 0.136), (0.1, 0.136, 0.75, 0.154)]
    together = draw_evidence(paper(), lines)
    apart = draw_evidence(paper(), [(0.1, 0.1, 0.8, 0.12), (0.1, 0.5, 0.8, 0.52)])
    columns = [outline_mask(image)[:, 400] for image in (together, apart)]
    edges = [int((column & ~np.roll(column, 1)).sum()) for column in columns]
    assert edges == [2, 4]  # an upper and a lower edge for each box


def test_a_large_page_is_scaled_to_reading_size_and_a_small_one_kept():
    assert max(draw_evidence(paper((3000, 4000)), []).size) == READING_SIDE
    assert draw_evidence(paper((300, 400)), [(0, 0, 1, 1)]).size == (300, 400)


def test_the_badge_stands_beside_the_box_and_inside_the_page():
    with_badge = outline_mask(draw_evidence(paper(), [(0.5, 0.4, 0.9, 0.45)], label="2"))
    without = outline_mask(draw_evidence(paper(), [(0.5, 0.4, 0.9, 0.45)]))
    added = np.argwhere(with_badge & ~without)
    assert len(added) > 100
    assert added[:, 1].max() < 400  # left of the box, which starts at x = 400


@pytest.mark.parametrize(
    "box",
    [(0, 0, 1, 1), (-0.5, -0.5, 0.1, 0.1), (0.9, 0.9, 1.5, 1.5), (0.5, 0.5, 0.5, 0.5), (0.8, 0.9, 0.2, 0.1)],
)
def test_odd_boxes_are_cut_to_the_page(box):
    assert draw_evidence(paper((200, 200)), [box], label="12").size == (200, 200)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
def test_any_kind_of_picture_is_taken(mode):
    assert draw_evidence(paper().convert(mode), [(0.1, 0.1, 0.2, 0.2)], label="1").mode == "RGB"


def test_no_boxes_leave_the_page_as_it_is():
    assert draw_evidence(paper(), []).getextrema() == ((255, 255),) * 3


def test_png_bytes_open_as_the_same_picture():
    data = evidence_png(paper(), [(0.1, 0.1, 0.4, 0.2)], label="1")
    opened = Image.open(io.BytesIO(data))
    assert opened.format == "PNG"
    assert np.array_equal(
        np.asarray(opened), np.asarray(draw_evidence(paper(), [(0.1, 0.1, 0.4, 0.2)], label="1"))
    )
