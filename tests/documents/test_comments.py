"""Comments are read as blocks of their own, once, with their author and the words that they mark."""

from __future__ import annotations

import pymupdf
import pytest
from made_documents import raw_pdf, stream

from mmrag.blocks import Word
from mmrag.documents.pdf.comments import MARKED_WORDS, Comment, with_comments
from mmrag.documents.pdf.pymupdf_renderer import PyMuPdfRenderer

LINE = "The price is agreed at 91,000 pounds."


def draft():
    document = pymupdf.open()
    page = document.new_page(width=400, height=300)
    page.insert_text((40, 60), LINE, fontsize=12)
    return document, page


def read(document):
    return PyMuPdfRenderer("draft.pdf", "pdf", document.tobytes(), ()).read(0)


def blocks(document) -> list[str]:
    return read(document).text.split("\n\n")


def test_a_sticky_note_and_marked_text_are_read_with_author_and_place():
    document, page = draft()
    note = page.add_text_annot((300, 50), "The supplier asked for 94,500 pounds.\nPlease check.")
    note.set_info(title="Ida")
    note.update()
    marked = page.add_highlight_annot(page.search_for("91,000"))
    marked.set_info(content="Cap this.")
    marked.update()
    assert blocks(document) == [
        LINE,
        "[Comment on “91,000”] Cap this.",
        "[Comment by Ida] The supplier asked for 94,500 pounds. Please check.",
    ]
    words = read(document).words
    x0, y0, x1, y1 = (40 / 400, 40 / 300, 320 / 400, 75 / 300)
    for word in words:
        assert x0 <= word.box[0] < word.box[2] <= x1 and y0 <= word.box[1] < word.box[3] <= y1


def test_what_the_page_shows_is_not_repeated_and_mere_marks_are_no_comments():
    document, page = draft()
    page.add_freetext_annot((40, 100, 300, 140), "Site visit moved to 12 September.", fontsize=11)
    page.add_highlight_annot(page.search_for("91,000"))
    assert blocks(document) == [LINE, "Site visit moved to 12 September."]


@pytest.mark.parametrize("flag", [pymupdf.PDF_ANNOT_IS_HIDDEN, pymupdf.PDF_ANNOT_IS_NO_VIEW])
def test_hidden_comments_are_not_read(flag):
    document, page = draft()
    note = page.add_text_annot((300, 50), "unseen")
    note.set_flags(flag)
    note.update()
    assert blocks(document) == [LINE]


def test_replies_follow_what_they_answer():
    document, page = draft()
    second = page.add_text_annot((300, 150), "Second?")
    first = page.add_text_annot((300, 50), "First?")
    for answered, text in ((first, "To the first."), (second, "To the second.")):
        reply = page.add_text_annot((300, 250), text)
        reply.set_irt_xref(answered.xref)
    assert blocks(document)[1:] == [
        "[Comment] First?",
        "[Reply] To the first.",
        "[Comment] Second?",
        "[Reply] To the second.",
    ]


def page_with_annotation(entries: str) -> bytes:
    return raw_pdf(
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 400 300]/Contents 4 0 R/Annots[6 0 R]"
        "/Resources<</Font<</F 5 0 R>>>>>>",
        stream("BT /F 11 Tf 40 250 Td (words) Tj ET"),
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        f"<</Type/Annot{entries}>>",
    )


def test_formatted_text_alone_is_read_without_its_tags():
    data = page_with_annotation("/Subtype/Text/Rect[20 20 40 40]/RC(<p><b>Cap</b> this &amp; that</p>)")
    page = PyMuPdfRenderer("n.pdf", "pdf", data, ()).read(0)
    assert page.text == "words\n\n[Comment] Cap this & that"


@pytest.mark.parametrize(
    ("subtype", "note"),
    [("Sound", "1 sound recording is not read"), ("RichMedia", "1 film is not read"), ("3D", "1 3D model")],
)
def test_what_is_no_text_is_named(subtype, note):
    data = page_with_annotation(f"/Subtype/{subtype}/Rect[20 20 40 40]")
    page = PyMuPdfRenderer("n.pdf", "pdf", data, ()).read(0)
    assert page.text == "words"
    assert page.notes[0].startswith(note)


def test_a_broken_comment_costs_itself():
    for entries in (
        "/Subtype/Text/Rect[1 2]/Contents 99 0 R",
        "/Subtype/Highlight/QuadPoints[1 2 3]/Contents(x)",
    ):
        page = PyMuPdfRenderer("n.pdf", "pdf", page_with_annotation(entries), ()).read(0)
        assert page.text.startswith("words")


def test_a_comment_beside_the_page_is_at_its_edge_and_long_marks_are_cut():
    words = tuple(Word(f"w{n}", (n / 40, 0.1, (n + 0.5) / 40, 0.12)) for n in range(30))
    comments = (
        Comment("far", (1.2, 0.5, 1.4, 0.6)),
        Comment("on all", (0, 0.1, 1, 0.12), marks=((0.0, 0.1, 1.0, 0.12),)),
    )
    _, far, marked = with_comments(((words,),), comments)
    for word in far[0]:
        assert 0 <= word.box[0] < word.box[2] <= 1.000001 and word.box[0] >= 0.98
    text = " ".join(word.text for word in marked[0])
    cut = " ".join(f"w{n}" for n in range(MARKED_WORDS))
    assert text == f"[Comment on “{cut} …”] on all"
