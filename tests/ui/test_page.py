"""The page of `mmrag ui` in Chromium: ask, answer, click, and the lit box lies over the right words."""

from __future__ import annotations

import io

import numpy as np
import pymupdf
import pytest
from PIL import Image

from .conftest import (
    HEIGHT,
    HOSTILE_NAME,
    LINE,
    MARGIN,
    PUMP,
    PUMP_LINE,
    SCAN,
    SCAN_LINE,
    TOP,
    WIDTH,
    ask,
    wait_for_picture,
)

PUMP_QUESTION = "How long did pump B run in March?"
SCAN_QUESTION = "Who replaced valve K7?"
NO_ANSWER = "What is the mayor of Lisbon called?"


def word_box(words: str, sentence: str, line: int):
    """Where words of a sentence stand on a page that `make_pdf` wrote: x0, y0, x1, y1 in 0..1."""
    before, font = sentence.partition(words)[0], pymupdf.Font("helv")
    x0 = MARGIN + font.text_length(before, 11)
    x1 = x0 + font.text_length(words, 11)
    baseline = TOP + LINE * line
    return x0 / WIDTH, (baseline - 8) / HEIGHT, x1 / WIDTH, (baseline + 1) / HEIGHT


def pixels_at(page, box):
    """RGB of what the screen shows at a box of the open page, shape ``(n, 3)``; fails off the screen."""
    frame = page.locator(".page-frame").bounding_box()
    desk = page.locator(".page-scroller").bounding_box()
    x0, y0, x1, y1 = (
        frame[start] + share * frame[size]
        for share, (start, size) in zip(
            box, [("x", "width"), ("y", "height"), ("x", "width"), ("y", "height")], strict=True
        )
    )
    assert desk["x"] <= x0 and x1 <= desk["x"] + desk["width"]
    assert desk["y"] <= y0 and y1 <= desk["y"] + desk["height"]
    scale = page.evaluate("devicePixelRatio")
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    part = picture.crop([round(edge * scale) for edge in (x0, y0, x1, y1)])
    return np.asarray(part).reshape(-1, 3).astype(int)


def lit_share(pixels) -> float:
    """Share of pixels in the colour of the quoted words; the block around them is paler."""
    red, green, blue = pixels.T
    return float(((red > 180) & (green > 150) & (blue < 140)).mean())


def dark_share(pixels) -> float:
    return float((pixels.max(axis=1) < 120).mean())


def shown_boxes(page):
    """Left, top, width, height of the marks in percent of the page."""
    script = "marks => marks.map(m => [m.style.left, m.style.top, m.style.width, m.style.height])"
    boxes = page.locator(".page-frame .mark").evaluate_all(script)
    return np.array([[float(value.removesuffix("%")) for value in box] for box in boxes])


CASES = {
    "text": (PUMP_QUESTION, "41 hours", PUMP, PUMP_LINE),
    "scan": (SCAN_QUESTION, "Ada Ferrant", SCAN, SCAN_LINE),
}


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("scale", [1, 2])
def test_a_citation_opens_the_page_with_the_quoted_words_lit(server, open_page, kind, scale):
    question, words, sentence, line = CASES[kind]
    page = open_page(server.url, device_scale_factor=scale)
    ask(page, question)
    assert words in page.inner_text("#answer q >> nth=0")
    page.click(".citation-number >> nth=0")
    wait_for_picture(page)

    box = word_box(words, sentence, line)
    assert lit_share(pixels_at(page, box)) > 0.5 and dark_share(pixels_at(page, box)) > 0.02
    _, y0, x1, y1 = box
    filler = (MARGIN / WIDTH, y0 + 4 * LINE / HEIGHT, x1, y1 + 4 * LINE / HEIGHT)
    margin = (0.02, y0, 0.1, y1)
    for other in (filler, margin):
        assert lit_share(pixels_at(page, other)) == 0
    assert dark_share(pixels_at(page, filler)) > 0.02


@pytest.mark.parametrize("kind", CASES)
def test_a_picture_is_as_sharp_as_the_screen_and_sharper_when_zoomed(server, open_page, kind):
    question, words, sentence, line = CASES[kind]
    page = open_page(server.url, device_scale_factor=2)
    ask(page, question)
    page.click(".card >> nth=0")
    wait_for_picture(page)

    def widths():
        return page.evaluate(
            "() => { const i = document.querySelector('.page-frame img');"
            " return [i.naturalWidth, i.clientWidth * devicePixelRatio]; }"
        )

    picture, screen = widths()
    assert picture >= screen
    for _ in range(2):
        page.click("button[title^=Larger]")
    page.wait_for_function(
        "wide => document.querySelector('.page-frame img').naturalWidth > wide", arg=picture
    )
    picture, screen = widths()
    assert picture >= screen
    box = word_box(words, sentence, line)
    assert lit_share(pixels_at(page, box)) > 0.5  # still on the screen


@pytest.mark.parametrize("kind", CASES)
def test_a_link_shows_the_same_marks_in_another_browser_and_asks_nothing_again(
    server, open_page, watch, kind
):
    question, words, sentence, line = CASES[kind]
    page = open_page(server.url)
    ask(page, question)
    page.click(".card >> nth=0")
    wait_for_picture(page)
    boxes, link = shown_boxes(page), page.url
    assert watch.asked("POST", "/ask") == 1

    other = open_page(link)
    wait_for_picture(other)
    assert np.abs(shown_boxes(other) - boxes).max() < 0.02  # percent
    assert other.input_value("#question") == question
    assert lit_share(pixels_at(other, word_box(words, sentence, line))) > 0.5
    other.reload()
    wait_for_picture(other)
    assert len(shown_boxes(other)) == len(boxes)
    assert watch.asked("POST", "/ask") == 1


def test_a_question_without_an_answer_is_told_plainly_with_the_nearest_pages(server, open_page):
    page = open_page(server.url)
    ask(page, NO_ANSWER)
    assert "do not seem to answer this" in page.inner_text("#answer")
    assert "Nearest pages" in page.inner_text("#hits") and page.locator(".hit").count() >= 1
    assert "do not seem to answer" in page.inner_text("#spoken")
    page.click(".hit-title >> nth=0")
    wait_for_picture(page)
    assert page.locator(".page-frame .mark").count() == 0


def test_what_a_document_says_is_text_and_runs_nothing(server, open_page):
    page = open_page(server.url)
    ask(page, "Who is the harbour master?")
    assert "onerror=alert(3)" in page.inner_text("#answer")
    page.click(".card >> nth=0")
    wait_for_picture(page)
    assert HOSTILE_NAME in page.inner_text(".viewer-title")
    page.keyboard.press("Escape")
    page.click("#show-documents")
    page.wait_for_selector(".document")
    assert HOSTILE_NAME in page.inner_text("#document-list")
    assert page.locator("img[src=x]").count() == 0 and page.locator("body script").count() == 0
    # The fixture fails on a dialog, an error or a foreign request.


def test_a_hostile_link_shows_a_page_or_an_error_and_runs_nothing(server, open_page):
    for rest in (
        "#q=<img src=x onerror=alert(5)>&p=nothing&t=<script>alert(6)</script>&b=0,0,1,1;9,9,9,9;a,b",
        "#c=<script>alert(7)</script>&p=..",
        "#c=..&p=x",
        "#p=..%2F..%2Fhealth&a=NaN,0,1,1&q=javascript:alert(8)",
    ):
        page = open_page(server.url + "/" + rest, allows=("404",))
        page.wait_for_selector("#fault:not([hidden]), .viewer-message:not([hidden]), #welcome:not([hidden])")
        assert page.locator("img[src=x]").count() == 0
