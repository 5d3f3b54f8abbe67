"""``mmrag check``: what is damaged is named, repaired, and read again by the next ``mmrag index``."""

from __future__ import annotations

import json
import sqlite3

import pytest

from mmrag.cli.app import main
from mmrag.pipeline import DocumentQA


def call(capsys, *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def index(tmp_path, make_pdf, capsys):
    """An index of a file of three pages, whose second page has lost its text."""
    make_pdf(tmp_path / "tea.pdf", ["Green tea is steeped.", "Black tea is fermented.", "White tea is rare."])
    folder = tmp_path / "index"
    assert call(capsys, "index", tmp_path / "tea.pdf", "--index", folder, "--ocr", "off")[0] == 0
    assert call(capsys, "check", "--index", folder)[:2] == (0, "3 records, no faults\n")
    connection = sqlite3.connect(folder / "index.sqlite")
    with connection:
        connection.execute("UPDATE records SET text = 'Black tee' WHERE id LIKE '%#p1'")
    connection.close()
    return folder


def test_a_page_that_is_lost_is_named_and_read_again(capsys, index, tmp_path):
    code, out, _ = call(capsys, "check", "--index", index)
    assert code == 1
    assert "2 whole records" in out and "#p1: other bytes than those its checksum is of" in out
    assert "Repair: mmrag check --repair" in out
    assert call(capsys, "search", "fermented", "--index", index)[0] == 1  # the error names the record

    code, out, _ = call(capsys, "check", "--repair", "--index", index, "--json")
    report = json.loads(out)
    assert code == 1 and report["repaired"] and [id[-3:] for id in report["lost_ids"]] == ["#p1"]
    assert {"record", "document"} <= {fault["part"] for fault in report["faults"]}
    assert all(fault["repair"] for fault in report["faults"])
    assert call(capsys, "check", "--index", index)[:2] == (0, "2 records, no faults\n")
    assert not json.loads(call(capsys, "status", "--index", index, "--json")[1])["documents"][0]["complete"]

    assert call(capsys, "index", tmp_path / "tea.pdf", "--index", index, "--ocr", "off")[0] == 0
    assert call(capsys, "check", "--index", index)[:2] == (0, "3 records, no faults\n")
    with DocumentQA.open(index, read_only=True) as qa:
        assert "Black tea is fermented." in qa.search("fermented")[0].record.text
        assert qa.check().is_sound


def test_there_must_be_an_index(capsys, tmp_path):
    code, _, err = call(capsys, "check", "--index", tmp_path / "nowhere")
    assert code == 1 and "must be a directory with an index" in err
