"""What a question refers to, and the pages that are so numbered or have such a caption."""

from __future__ import annotations

import numpy as np
import pymupdf
import pytest

from mmrag import DocumentQA
from mmrag.index.base import Manifest
from mmrag.index.memory import MemoryIndex
from mmrag.page_references import PageReferences, edge_numbers, has_part, page_references, referenced_pages
from mmrag.types import Page, Record, Source

BOOK, OTHER = (Source(digit * 64, "pdf", f"{digit}.pdf") for digit in "ab")


def record(source: Source, number: int, text: str, *, total: int, label: str = "", section=()) -> Record:
    page = Page(
        id=source.page_id(number),
        document_id=source.document_id,
        number=number,
        label=label or str(number + 1),
        text=text,
        words=(),
        size=(612.0, 792.0),
        source=source,
        total_pages=total,
        text_source="layer",
        section=tuple(section),
    )
    metadata = {"doc_id": page.document_id, "page": number, "page_label": page.label, "total_pages": total}
    return Record(page.id, np.ones((1, 2), np.float32), text, metadata, page)


def index_of(*records: Record) -> MemoryIndex:
    index = MemoryIndex(Manifest("fake", "0" * 32, 2, "2026-01-01T00:00:00+00:00"))
    index.add(records)
    return index


@pytest.mark.parametrize(
    ("question", "numbers"),
    [
        ("What does the hippo on page 25 stand for?", {25}),
        ("How many signatures are on page 15 and page 16?", {15, 16}),
        ("Compare pages 3, 5 and 7 to 9.", {3, 5, 7, 8, 9}),
        ("Which figures are there from Page 3 to Page 5?", {3, 4, 5}),
        ("Sum pp. 3-5", {3, 4, 5}),
        ("What is on p. 12?", {12}),
        ("Where do the lines on slide #4 cross?", {4}),
        ("Which words are at the top of page two?", {2}),
        ("Was steht auf Seite 7?", {7}),
        ("¿Qué dice la página 8?", {8}),
        ("On page 3, 20 people smile and 5 do not.", {3}),
        ("Pages 2 and 50 % of the rest", {2}),
        ("pages 1 to 900", {1, 900}),
        ("How long is a 5 page report?", set()),
        ("page 10.5", set()),
        ("Which page lists the 3 branches?", set()),
    ],
)
def test_numbers_of_pages(question, numbers):
    assert page_references(question) == PageReferences(numbers=frozenset(numbers))


@pytest.mark.parametrize(
    ("question", "positions"),
    [
        ("Who signed the last page?", {-1}),
        ("Which date is on the second page?", {2}),
        ("What is the address on the cover page?", {1}),
        ("Which logo is on the second cover page?", {2}),
        ("What colour has the stamp on the 6th page?", {6}),
        ("Was steht auf der letzten Seite?", {-1}),
        ("Qui signe la première page ?", {1}),
        ("What ends the last page of each chapter?", set()),
        ("What is on the second-to-last page?", set()),
        ("Who came first? Page through the list.", set()),
    ],
)
def test_places_in_a_file(question, positions):
    assert page_references(question) == PageReferences(positions=frozenset(positions))


@pytest.mark.parametrize(
    ("question", "parts"),
    [
        ("What are the axes of Figure 3?", {("figure", "3")}),
        ("What is left of the bar in Fig. 2(a)?", {("figure", "2")}),
        ("Which is the red line in figure 4b?", {("figure", "4")}),
        ("How many rows have Tables 1 and 2?", {("table", "1"), ("table", "2")}),
        ("Who is named in Table IV?", {("table", "IV")}),
        ("Does Section 3.3 cite more than Section 3.1?", {("section", "3.3"), ("section", "3.1")}),
        ("What does Figure 3-12 show?", {("figure", "3-12")}),
        ("Which strengths does Appendix C list?", {("appendix", "C")}),
        ("Was zeigt Abbildung 5?", {("figure", "5")}),
        ("What is Chapter 5's title?", {("chapter", "5")}),
        ("How many figures are there?", set()),
        ("Which figures depict a chain?", set()),
        ("How many tables in total?", set()),
        ("Where is the table for A's guests?", set()),
        ("What is the price of item 3?", set()),  # of a bill, more often than of a report
    ],
)
def test_parts(question, parts):
    assert page_references(question) == PageReferences(parts=frozenset(parts))


def test_a_question_that_refers_to_everything_has_limits():
    references = page_references(" ".join(f"pages {n}-{n + 49} and Table {n}," for n in range(1, 20_000, 50)))
    assert references.numbers == frozenset(range(1, 201))
    assert len(references.parts) == 8


def test_a_long_question_is_read_at_once():
    """Patterns that go back and forth would take hours for these."""
    for piece in (", ", "page 1, ", "last ", "page ", "Table A, ", "pages 1 and ", "figure 1."):
        page_references(piece * (20_000 // len(piece)))


def test_numbers_at_the_edges_by_hand():
    text = "Annual report 2024\n\n12 The year\nSales grew by 7\nand 8 more\nmore\n- 15 -"
    assert edge_numbers(text) == {2024, 12, 15}
    assert edge_numbers("Page 3 of 9") == {3}
    assert edge_numbers("") == edge_numbers("no number\nat all") == set()
    assert edge_numbers("7 " + "x" * 200) == set()  # a paragraph


@pytest.mark.parametrize(
    ("line", "is_caption"),
    [
        ("Figure 3: Sales by region", True),
        ("FIGURE 3. Sales", True),
        ("Fig. 3 Sales by region", True),
        ("Figure 3", True),
        ("Abbildung 3: Umsatz", True),
        ("Figure 3 shows that sales grew", False),
        ("as in Figure 3.", False),
        ("Figure 3.1: Sales", False),
        ("Figure 30: Sales", False),
        ("Figure 3: Sales . . . . . . . 17", False),
        ("Table 3: Sales", False),
    ],
)
def test_captions(line, is_caption):
    page = record(BOOK, 0, f"Some text before\n{line}\nand after", total=1)
    assert has_part(page, "figure", "3") == is_caption


def test_headings():
    page = record(BOOK, 0, "3.4 Training\nWe train.", total=1, section=["Appendix B: Proofs"])
    assert has_part(page, "section", "3.4")
    assert not has_part(page, "section", "3")
    assert has_part(page, "appendix", "B")
    assert not has_part(page, "figure", "3.4")


def test_pages_by_hand():
    """A book whose page 3 is its fifth leaf by print and its third by count, and a file with labels."""
    texts = ["Title", "Preface ii", "1\nIntroduction", "2\nFigure 1: Sales", "3\nsee Figure 1", "4\nThe end"]
    book = [record(BOOK, number, text, total=6) for number, text in enumerate(texts)]
    labels = ["i", "ii", "1", "2", "3"]
    other = [record(OTHER, n, "a leaf", total=5, label=label) for n, label in enumerate(labels)]
    index = index_of(*book, *other)
    both = [BOOK.document_id, OTHER.document_id]

    def pages(question, documents=both, filter=None):
        return referenced_pages(index, page_references(question), documents, filter)

    def ids(source, *numbers):
        return {source.page_id(number) for number in numbers}

    assert set(pages("What is on page 3?")) == ids(BOOK, 2, 4) | ids(OTHER, 2, 4)
    assert set(pages("What is on page 3?", documents=both[:1])) == ids(BOOK, 2, 4)
    assert set(pages("What is on page 3?", filter={"page": {"$gte": 3}})) == ids(BOOK, 4) | ids(OTHER, 4)
    assert set(pages("What is on the last page?")) == ids(BOOK, 5) | ids(OTHER, 4)
    assert set(pages("What is on the last page?", filter={"page": {"$gte": 3}})) == ids(BOOK, 5) | ids(
        OTHER, 4
    )
    assert set(pages("What does Figure 1 show?")) == ids(BOOK, 3)
    assert pages("What does Figure 1 on page 2 show?")[BOOK.page_id(3)] == 2.0
    assert pages("What does Figure 1 on page 2 show?")[BOOK.page_id(1)] == 1.0
    assert pages("What is on page 99?") == pages("Who is it?") == pages("page 3", documents=[]) == {}


def test_a_number_alone_is_not_a_page_number():
    """The 7 on a page is one of its own where no page beside it counts on."""
    index = index_of(*(record(BOOK, n, f"total\n{7 if n == 4 else 'none'}", total=9) for n in range(9)))
    assert set(referenced_pages(index, page_references("page 7"), [BOOK.document_id], None)) == {
        BOOK.page_id(6)
    }


def test_texts_that_are_no_pages():
    """They have no place in a file, and a caption as well as a page has."""
    notes = [
        Record(f"note {n}", np.ones((1, 2), np.float32), text, {"doc_id": "notes"})
        for n, text in enumerate(["Page 7", "8", "Figure 7: A boat"])
    ]
    index = index_of(*notes)
    assert referenced_pages(index, page_references("page 7"), ["notes"], None) == {}
    assert referenced_pages(index, page_references("the last page"), ["notes"], None) == {}
    assert referenced_pages(index, page_references("Figure 7"), ["notes"], None) == {"note 2": 1.0}


def test_printed_numbers_of_random_books():
    """Against counting: leaves before page 1, one printed page a leaf or two, the number at either edge."""
    random = np.random.default_rng(0)
    for _ in range(30):
        before, step, total = (
            int(random.integers(0, 6)),
            int(random.integers(1, 3)),
            int(random.integers(4, 30)),
        )
        printed = {n: (n - before) * step + 1 for n in range(before, total)}
        texts = []
        for n in range(total):
            body = "\n".join(["Words without a number"] * 5)
            number = str(printed.get(n, ""))
            texts.append(f"{number}\n{body}" if random.random() < 0.5 else f"{body}\nReport {number}")
        index = index_of(*(record(BOOK, n, text, total=total) for n, text in enumerate(texts)))
        wanted = int(random.integers(1, 2 * total))
        expected = {n for n, number in printed.items() if number == wanted and len(printed) > 1}
        expected |= {wanted - 1} if wanted <= total else set()
        pages = referenced_pages(
            index, page_references(f"What is on page {wanted}?"), [BOOK.document_id], None
        )
        assert set(pages) == {BOOK.page_id(n) for n in expected}


def test_a_question_finds_the_page_that_it_refers_to(tmp_path):
    """From a PDF with printed numbers to the ranking, against what words and vectors say."""
    with pymupdf.open() as document:
        for number in range(8):
            page = document.new_page()
            topic = (
                "The otter swims in the river all day." if number == 1 else f"Leaf with words {number * 11}."
            )
            page.insert_text((72, 100), topic)
            if number == 6:
                page.insert_text((72, 200), "Figure 2: A boat")
            if number >= 2:
                page.insert_text((300, 770), str(number + 39))
        document.save(tmp_path / "book.pdf")
    with DocumentQA.open(tmp_path / "index", reranker=None) as qa:
        qa.add([tmp_path / "book.pdf"])
        assert qa.search("Where does the otter swim?")[0].page.number == 1
        by_number = qa.search("Does the otter swim in the river on page 43?")
        assert by_number[0].page.number == 4
        assert by_number[0].scores["reference"] == 1
        assert by_number[1].page.number == 1
        assert by_number[1].scores["reference"] == 0
        assert qa.search("Does the otter swim in Figure 2?")[0].page.number == 6
        assert qa.search("Does the otter swim on the last page?")[0].page.number == 7
        assert "reference" not in qa.search("Where does the otter swim?")[0].scores
        within = qa.search("the otter on page 43", filter={"page": {"$lt": 3}})
        assert {candidate.page.number for candidate in within} == {0, 1, 2}
