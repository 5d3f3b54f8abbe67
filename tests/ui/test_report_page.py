"""The page of a report in Chromium: it filters, orders and opens by keyboard, and runs nothing of a pack."""

from __future__ import annotations

import json

import pytest

from mmrag.evaluation import evaluate, load_pack
from mmrag.evaluation.page import save_html

from .conftest import HOSTILE_NAME, HOSTILE_TEXT


@pytest.fixture
def report(tmp_path):
    """The page of three questions: right page first, third, and not found."""
    folder = tmp_path / "tiny"
    (folder / "documents").mkdir(parents=True)
    (folder / "documents" / HOSTILE_NAME).write_bytes(b"")
    lines = [
        {"id": name, "question": words, "doc": HOSTILE_NAME, "answerable": True, "evidence_pages": [page]}
        for name, words, page in (("a", "the apple", 0), ("b", "the pear", 2), ("c", HOSTILE_TEXT, 9))
    ]
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    pack = load_pack(folder)
    found = evaluate(pack, lambda question, within: [(HOSTILE_NAME, page) for page in range(5)])
    save_html(tmp_path / "report.html", pack, json.loads(json.dumps(found.to_dict())))
    return f"file://{tmp_path / 'report.html'}"


def questions(page):
    return [text.split("\n")[0] for text in page.locator("#rows > li:visible summary b").all_inner_texts()]


def test_questions_are_filtered_and_ordered(open_page, report) -> None:
    page = open_page(report)
    assert questions(page)[0].startswith("<script>alert(2)</script>")
    assert questions(page)[1:] == ["the pear", "the apple"]
    page.select_option("#order", "position")
    assert questions(page)[0] == "the apple"
    page.select_option("#kind", "missed")
    assert page.locator("#count").inner_text() == "1 of 3 questions"
    page.select_option("#kind", "")
    page.fill("#words", "PEAR the")
    assert questions(page) == ["the pear"]


def test_a_question_opens_by_keyboard(open_page, report) -> None:
    page = open_page(report)
    page.locator("#rows summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#rows details[open] table").first.is_visible()


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_window(open_page, report, width, scheme) -> None:
    page = open_page(report, viewport={"width": width, "height": 700}, color_scheme=scheme)
    page.locator("#rows summary").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
