"""The report of an `add` as text: what was done, what was noted, what was left out."""

from __future__ import annotations

from mmrag.documents import Skipped
from mmrag.ingest.report import MOST_ALIKE, AddReport, note_lines


def test_a_report_says_what_was_done_in_lines():
    report = AddReport(
        added=["a.pdf", "b.pdf"],
        unchanged=["c.pdf"],
        skipped=[
            Skipped("d.docx", "a Word document (DOCX)"),
            Skipped("a.pdf", "damaged", page=2),
        ],
        notes={"1 film is not read": 1, "OCR used": 4},
        pages=10,
        seconds=2.0,
    )
    assert str(report).split("\n") == [
        "Files: 2 added, 1 unchanged. 10 pages in 2.0 s, 5.0 pages/s",
        "  4 pages: OCR used",
        "  1 page: 1 film is not read",
        "Skipped (2):",
        "  d.docx: a Word document (DOCX)",
        "  a.pdf, page 3: damaged",
    ]
    assert str(AddReport()) == "0 pages in 0.0 s"


def test_notes_of_one_kind_are_one_line_if_they_are_many():
    notes = {f"OCR is unsure of this page (confidence 0.{number})": 2 for number in range(10, 30)}
    notes |= {f"{n + 1} files are attached: f{n}.csv (are read with attachments=True)": 1 for n in range(10)}
    notes |= {f"text layer is garbage ({reason}), OCR used": 1 for reason in ("one glyph", "no map")}
    assert note_lines(notes) == [
        "  40 pages: OCR is unsure of this page (confidence 0.10), and the like",
        "  10 pages: 1 files are attached: f0.csv (are read with attachments=True), and the like",
        "  1 page: text layer is garbage (one glyph), OCR used",
        "  1 page: text layer is garbage (no map), OCR used",
    ]
    few = {f"confidence 0.{number}": 1 for number in range(MOST_ALIKE)}
    assert len(note_lines(few)) == MOST_ALIKE


def test_a_report_is_set_back_to_a_copy():
    report = AddReport(added=["a"], notes={"n": 1}, pages=3)
    copy = report.copy()
    report.added.append("b")
    report.notes["n"] = 5
    report.pages = 9
    report.restore(copy)
    assert (report.added, report.notes, report.pages) == (["a"], {"n": 1}, 3)
