"""What a person at a terminal sees, and a pipe does not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmrag.cli import main

pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, make_pdf) -> Path:
    folder = tmp_path_factory.mktemp("terminal")
    make_pdf(folder / "docs" / "ship.pdf", ["The ferry Aurora carries 420 passengers.", "Built in Turku."])
    arguments = [str(folder / "docs"), "--index", str(folder / "index"), "--ocr", "off"]
    assert main(["index", *arguments, "--embedder", "mmrag-mini"]) == 0
    return folder / "index"


def at_terminal(*arguments: object, rows: int = 24, columns: int = 80) -> tuple[int, str]:
    """Run ``mmrag`` with all three streams on a pseudo-terminal; return exit code and output."""
    parent, child = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": str(columns), "LINES": str(rows)}
    environment.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "mmrag.cli", *map(str, arguments)]
    run = subprocess.Popen(command, stdin=child, stdout=child, stderr=child, env=environment)
    os.close(child)
    output = b""
    while True:
        try:
            block = os.read(parent, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not block:
            break
        output += block
    os.close(parent)
    return run.wait(60), output.decode()


def test_help_is_drawn_in_panels_and_fits() -> None:
    code, output = at_terminal("--help")
    lines = ANSI.sub("", output).replace("\r", "").splitlines()
    assert code == 0
    assert "╭─ Search and ask " in "\n".join(lines)
    assert len(lines) <= 45
    assert max(map(len, lines)) <= 80


def test_a_wrong_flag_is_answered_in_a_panel() -> None:
    code, output = at_terminal("search", "x", "--bugdet", "1,1")
    assert code == 2
    assert "No such option --bugdet. Did you mean --budget?" in ANSI.sub("", output)
    assert "╭─ Error" in ANSI.sub("", output)


def test_words_that_matched_are_emphasised(index: Path) -> None:
    arguments = ("search", "ferry passengers", "--index", index, "--embedder", "mmrag-mini")
    code, output = at_terminal(*arguments)
    assert code == 0
    assert re.search(r"\x1b\[[0-9;]*mferry\x1b\[0m Aurora", output)
    assert re.search(r"\x1b\[[0-9;]*mpassengers\x1b\[0m", output)
    assert "The ferry Aurora carries 420 passengers." in ANSI.sub("", output)


def test_status_is_a_table(index: Path) -> None:
    code, output = at_terminal("status", "--index", index, "--embedder", "mmrag-mini")
    assert code == 0
    assert re.search(r"document id +pages +file", ANSI.sub("", output))
    assert "ship.pdf" in ANSI.sub("", output).replace("\r\n", "").replace(" ", "")


def test_json_is_the_same_at_a_terminal_and_adding_shows_a_bar(index: Path) -> None:
    docs = index.parent / "docs"
    arguments = ("index", docs, "--index", index.parent / "new", "--ocr", "off", "--json")
    code, output = at_terminal(*arguments, "--embedder", "mmrag-mini")
    assert code == 0
    assert "files" in output.partition("{")[0]  # progress, then the report
    assert '"pages": 2' in output
