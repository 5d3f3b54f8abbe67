"""A folder of twelve formats, with a wrong name and a password: indexed, asked, changed, synced."""

from __future__ import annotations

import importlib.util
import re

import pytest

from mmrag import DocumentQA, ReaderSettings
from mmrag.documents.conversion import libreoffice
from mmrag.documents.structure.pymupdf_layout import is_available

from ..documents import office_files

MODES = [
    pytest.param(
        "auto", marks=pytest.mark.skipif(libreoffice.find() is None, reason="LibreOffice is not here")
    ),
    "off",
]
QUESTIONS = {
    "docx": ("What does the docxparagraph of Lisbon cost?", "48,210", 'heading "Docxheading"'),
    "pptx": ("What is the pptxpoint of slide 3?", "Pptx", "slide 3"),
    "xlsx": ("What is the price of Item7?", "8,641.50", r"Prices!.*9"),
    "odt": ("How many days has the odtparagraph of Oslo?", "31", 'heading "Odtheading"'),
    "odp": ("What is the odppoint?", "Odppoint", "slide [13]"),
    "ods": ("What is the height of the port Dover?", "6.80 m", r"Heights!.*2"),
    "html": ("When is high water at Dünkirchen?", "11:42", 'heading "Htmlheading"'),
    "md": ("How many days of mdparagraph do employees have?", "27", 'heading "Mdheading"'),
    "csv": ("How many people live in Bergen?", "5", "line 5"),
    "eml": ("How much is the emlbody that is overdue?", "1,240", "Emlsubject über 778, 2024-09-03"),
}
NEEDS_EXTRA = {"pptx": "pptx", "xlsx": "openpyxl"}
KINDS = [
    kind
    for kind in office_files.FORMATS
    if kind not in NEEDS_EXTRA or importlib.util.find_spec(NEEDS_EXTRA[kind]) is not None
]


@pytest.mark.parametrize("mode", MODES)
def test_a_folder_of_formats_is_indexed_asked_changed_and_synced(mode, tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    for kind in KINDS:
        (folder / f"file.{kind}").write_bytes(office_files.draw(kind))
    (folder / "lies.xlsx").write_bytes(b"this is no workbook")
    (folder / "locked.docx").write_bytes(office_files.locked())
    (folder / "named.pdf").write_bytes(
        b"<!DOCTYPE html><html><body><h1>Tides</h1><p>Wind from the west.</p></body></html>"
    )
    settings = ReaderSettings(office=mode, ocr="off")
    with DocumentQA.open(tmp_path / "index", reader=settings) as qa:
        report = qa.sync_folder(folder)
        assert (len(report.added), len(report.skipped)) == (len(KINDS) + 1, 2)
        reasons = " ".join(skipped.reason for skipped in report.skipped)
        assert "its content is plain text" in reasons and "an Office document with a password" in reasons
        converters = {entry.kind: entry.converter for entry in qa.status().documents}
        assert (converters["docx"] == "libreoffice") == (mode == "auto") and converters["csv"] == "mmrag"

        without_lines = set() if is_available() else {"csv"}  # its table is one to the models alone
        for kind in sorted((set(QUESTIONS) & set(KINDS)) - without_lines):
            question, words, location = QUESTIONS[kind]
            answer = qa.ask(question, filter={"file_name": f"file.{kind}"})
            cited = [citation for citation in answer.citations if words in citation.quote]
            assert cited, (kind, answer)
            assert any(re.fullmatch(location, citation.location) for citation in cited), (
                kind,
                answer.citations,
            )
            assert cited[0].boxes and cited[0].picture is not None

        pages = qa.index.count()
        (folder / "file.md").rename(folder / "moved.md")
        (folder / "file.txt").write_text("Die Pumpe ist neu.")
        (folder / "file.html").unlink()
        (folder / "new.csv").write_text("port;height\nCalais;7.2\n")
        (folder / "locked.docx").unlink()
        plan = qa.plan_sync(folder)
        counts = [len(part) for part in (plan.added, plan.replaced, plan.renamed, plan.removed, plan.skipped)]
        assert counts == [1, 1, 1, 1, 1]
        report = qa.sync_folder(folder)
        counts = [
            len(part)
            for part in (report.added, report.replaced, report.moves, report.removed, report.skipped)
        ]
        assert counts == [1, 1, 1, 1, 1]
        assert len(report.unchanged) == len(KINDS) - 2
        assert (report.pages, qa.index.count()) == (2, pages)  # one came, one went, one was replaced
        assert qa.plan_sync(folder).is_empty
        assert qa.ask("How high is Calais?").citations[0].location == "line 2"
