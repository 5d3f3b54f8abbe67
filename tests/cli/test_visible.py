"""What comes from outside is shown and does nothing: odd file names, terminal escapes, paths as ids."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mmrag
from mmrag.cli import main
from mmrag.cli.ask import check_folder_names
from mmrag.cli.command import exit_code
from mmrag.cli.visible import visible_json
from mmrag.documents import Skipped
from mmrag.files import utf8_name, visible
from mmrag.ingest.report import AddReport

HOSTILE = b"caf\xe9\x1b[2J\x1b]0;owned\x07.pdf"
SHOWN = r"caf\xe9\x1b[2J\x1b]0;owned\x07.pdf"
ACTIVE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]")


def test_what_a_terminal_acts_on_is_shown() -> None:
    assert visible("a\tb\nc \u2026 \u00e9 \u6587") == "a\tb\nc \u2026 \u00e9 \u6587"
    assert visible(os.fsdecode(HOSTILE)) == SHOWN
    assert visible("\r\x9b31m\u202egpj.exe\ud800") == r"\x0d\x9b31m\u202egpj.exe\ud800"


def test_json_reads_back_as_what_it_was() -> None:
    data = {"name": os.fsdecode(HOSTILE) + "\x9b\u202e\u00e9"}
    text = visible_json(data)
    assert not ACTIVE.search(text)
    assert json.loads(text) == data


def test_a_name_as_text_is_its_bytes() -> None:
    assert utf8_name("\u00e9t\u00e9.pdf") == "\u00e9t\u00e9.pdf"
    assert utf8_name(os.fsdecode(b"caf\xe9.pdf")) == r"caf\xe9.pdf"
    assert utf8_name("\ud800") == r"\ud800"


def test_a_report_prints_where_text_is_strict() -> None:
    report = AddReport(skipped=[Skipped(os.fsdecode(HOSTILE), "damaged")])
    assert f"{SHOWN}: damaged".encode("ascii") in str(report).encode("ascii")


def test_every_line_of_the_command_line_is_made_visible() -> None:
    """A new command that writes to a stream by itself would let names and answers through."""
    for path in (Path(mmrag.__file__).parent / "cli").glob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if re.search(r"sys\.std(?:out|err)\.write\(|\bprint\(", line) and "Console()" not in line:
                assert "visible" in line or r'"\r\x1b[K"' in line, f"{path.name}: {line.strip()}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_pdf) -> Path:
    """A folder of three documents, one of whose names is not UTF-8, and one that is no document."""
    folder = tmp_path_factory.mktemp("names")
    make_pdf(folder / "docs" / "a.pdf", ["The vault opens at noon on Mondays."])
    make_pdf(folder / "docs" / "z.pdf", ["Owls hoot at night."])
    make_pdf(folder / "docs" / "middle.pdf", ["The ferry Aurora carries 420 passengers."])
    try:
        (folder / "docs" / "middle.pdf").rename(folder / "docs" / os.fsdecode(HOSTILE))
        (folder / "docs" / os.fsdecode(b"b\xff.bin")).write_bytes(b"nothing")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    return folder


def test_a_name_that_is_not_utf8_ends_no_run(folder: Path) -> None:
    """Standard output that takes ASCII and no more, as where the locale is not set."""
    command = [
        sys.executable,
        "-m",
        "mmrag.cli",
        "index",
        str(folder / "docs"),
        "--index",
        str(folder / "index"),
    ]
    environment = {
        **os.environ,
        "PYTHONIOENCODING": "ascii:strict",
        "PYTHONPATH": str(Path(mmrag.__file__).parents[1]),
    }
    done = subprocess.run([*command, "--ocr", "off", "--json"], env=environment, capture_output=True)
    report = json.loads(done.stdout.decode("ascii"))
    assert done.returncode == 3, done.stderr  # one file is no document
    assert (report["pages"], len(report["added"])) == (3, 3)
    assert [Path(item["name"]).name for item in report["skipped"]] == [os.fsdecode(b"b\xff.bin")]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command and return what it prints, which no terminal acts on."""
    assert main([str(argument) for argument in arguments]) == 0
    out = capsys.readouterr().out
    assert not ACTIVE.search(out)
    return out


def test_such_a_file_is_shown_read_again_and_removed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = ("--index", folder / "index")
    assert SHOWN in run(capsys, "status", *index)
    assert SHOWN in run(capsys, "search", "ferry", *index)
    (candidate, *_) = json.loads(run(capsys, "search", "ferry", *index, "--json"))["candidates"]
    assert candidate["path"] == str(folder / "docs" / os.fsdecode(HOSTILE))
    pictures = folder / "pictures"
    question = "How many passengers does the ferry Aurora carry?"
    assert SHOWN in run(capsys, "ask", question, *index, "--evidence-dir", pictures)
    assert (pictures / "1.png").is_file()  # drawn from the file itself
    assert f"{SHOWN}: 1 pages" in run(capsys, "remove", utf8_name(os.fsdecode(HOSTILE)), *index)


def test_streams_of_a_plain_locale_print_no_raw_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="surrogateescape")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    main(["search", "x", "--json", "--index", os.fsdecode(b"no\xff")])
    stream.flush()
    json.loads(stream.buffer.getvalue().decode("ascii"))


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_what_a_plain_locale_cannot_write_is_an_escape(monkeypatch: pytest.MonkeyPatch, errors: str) -> None:
    """Not a name alone: any letter of a page or a message ended the run where only ASCII can be written."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors=errors) for _ in range(2)]
    for name, stream in zip(("stdout", "stderr"), streams, strict=True):
        monkeypatch.setattr(sys, name, stream)
    assert main(["search", "x", "--index", "caf\u00e9\u2026"]) == 1
    streams[1].flush()
    assert rb"caf\xe9\u2026" in streams[1].buffer.getvalue()


def test_an_id_names_a_folder_inside_and_none_elsewhere(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for id in ("../up", "/abs", "..", "", "a\\b", "C:x", "x" * 300, "a\nb", "\ud800"):
        with pytest.raises(ValueError, match="must be a file name"):
            check_folder_names([{"id": "good-1"}, {"id": id}], Path("q.jsonl"))
    check_folder_names([{"id": 7}, {"question": "?"}, {"id": "Frage 1"}], Path("q.jsonl"))
    (tmp_path / "q.jsonl").write_text(json.dumps({"question": "ferry?", "id": "../../up"}) + "\n")
    files = ["--from", tmp_path / "q.jsonl", "--to", tmp_path / "a.jsonl", "--evidence-dir", tmp_path / "e"]
    assert main([str(value) for value in ("ask", "--index", folder / "index", *files)]) == 1
    assert "must be a file name" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["q.jsonl"]


def test_log_lines_of_a_command_act_on_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """A warning names files and quotes servers, and so does the traceback of ``--verbose``."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()  # as in a process of its own: pytest's would be the only ones

    def run() -> int:
        logging.getLogger("mmrag.tea").warning("%s cannot be read", os.fsdecode(HOSTILE))
        raise ValueError(os.fsdecode(HOSTILE))

    try:
        assert exit_code(run, "mmrag tea", verbose=True) == 1
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    shown = capfd.readouterr().err
    assert shown.count(SHOWN) == 3  # the line, the traceback, the error
    assert not ACTIVE.search(shown)
