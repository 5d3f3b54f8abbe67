"""Sections of pages from a file's outline."""

from __future__ import annotations

import random

import pymupdf
import pytest
from made_documents import make_pdf

from mmrag.documents.pdf.outline import MOST_TITLES, Outline, OutlineEntry
from mmrag.documents.pdf.pymupdf_renderer import PyMuPdfRenderer


def test_a_page_has_the_path_it_begins_in_and_the_titles_on_it():
    entries = [
        OutlineEntry(1, "1 Intro", 0, 0.05),
        OutlineEntry(2, "1.1 Scope", 1, 0.6),
        OutlineEntry(1, "2 Methods", 3, 0.05),
        OutlineEntry(2, "2.1  Data\n", 3, 0.5),
        OutlineEntry(2, "2.2 Model", 4, None),
    ]
    outline = Outline(entries)
    assert [outline.section(number) for number in range(6)] == [
        ("1 Intro",),
        ("1 Intro", "1.1 Scope"),
        ("1 Intro", "1.1 Scope"),
        ("2 Methods", "2.1 Data"),
        ("2 Methods", "2.1 Data", "2.2 Model"),
        ("2 Methods", "2.2 Model"),
    ]
    assert Outline(()).section(3) == ()


@pytest.mark.parametrize("seed", range(20))
def test_sections_are_those_of_a_walk_through_the_entries(seed):
    """An independent way: walk the entries one by one, and look at what is open at each page's start."""
    rng = random.Random(seed)
    pages = sorted(rng.randrange(12) for _ in range(rng.randint(0, 15)))
    entries = [OutlineEntry(rng.randint(1, 3), f"t{n}", page, 0.5) for n, page in enumerate(pages)]
    outline = Outline(entries)
    for number in range(12):
        path: dict[int, str] = {}
        titles: list[str] = []
        for entry in entries:
            if entry.page > number:
                break
            if entry.page == number and not titles:
                titles = [*path.values()]
            path = {level: title for level, title in path.items() if level < entry.level}
            path[entry.level] = entry.title
            if entry.page == number:
                titles += path.values()
        expected = dict.fromkeys(titles or path.values())
        assert outline.section(number) == tuple(expected)[:MOST_TITLES]


def test_a_file_with_an_outline():
    document = pymupdf.open(stream=make_pdf(*"abcd"))
    place = {"kind": pymupdf.LINK_GOTO, "page": 2, "to": pymupdf.Point(0, 200)}
    document.set_toc([[1, "Start", 1], [2, "Middle", 3, place], [1, "End", 4, 10]])
    opened = PyMuPdfRenderer("a.pdf", "pdf", document.tobytes(), ())
    sections = [opened.read(number).section for number in range(4)]
    assert sections == [("Start",), ("Start",), ("Start", "Middle"), ("End",)]


@pytest.mark.parametrize("damage", ["/First 9999 0 R", "/First 1 0 R", "/First (no)"])
def test_a_broken_outline_costs_nothing_else(damage):
    document = pymupdf.open(stream=make_pdf("a", "b"))
    document.set_toc([[1, "Start", 1]])
    outlines = int(document.xref_get_key(document.pdf_catalog(), "Outlines")[1].split()[0])
    document.update_object(outlines, f"<</Type/Outlines{damage}>>")
    opened = PyMuPdfRenderer("a.pdf", "pdf", document.tobytes(), ())
    assert [opened.read(number).text for number in range(2)] == ["a", "b"]
