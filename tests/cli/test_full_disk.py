"""A disk that takes no more ends a command in one line that says what to do, never in a traceback."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mmrag
from mmrag.cli import main
from mmrag.cli.command import EXIT_FAILED, EXIT_OK, exit_code

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from mmrag.cli import main
sys.exit(main(sys.argv[2:]))
"""


def run(code: str, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(mmrag.__file__).parents[1])}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, **{"text": True, "stderr": subprocess.PIPE, "env": environment, **options})  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("most_bytes", [0, 20_000, 110_000])
def test_files_that_cannot_grow_end_a_command_in_one_line(tmp_path, make_pdf, most_bytes):
    """No file may be longer, as on a disk that fills up, wherever that happens: in the lock, in SQLite."""
    pytest.importorskip("resource", reason="this system has no limit of file sizes")
    words = np.random.default_rng(3).integers(1_000_000, size=(12, 90))
    path = make_pdf(tmp_path / "a.pdf", [" ".join(map(str, numbers)) for numbers in words])
    arguments = ["index", path, "--index", tmp_path / "index", "--ocr", "off", "--workers", "1"]
    ended = run(LIMITED, most_bytes, *arguments, stdout=subprocess.DEVNULL)
    *warnings, line = ended.stderr.strip().splitlines()
    assert all(warning.startswith("WARNING mmrag") for warning in warnings)  # Chroma's, which SQLite outlives
    assert ended.returncode == EXIT_FAILED
    assert line.startswith("mmrag index: ")


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["search", "--help"]])
def test_an_output_on_a_full_disk_ends_in_one_line(arguments):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with Path("/dev/full").open("w") as full:
        ended = run(
            "import sys; from mmrag.cli import main; sys.exit(main(sys.argv[1:]))", *arguments, stdout=full
        )
    assert ended.returncode == EXIT_FAILED
    assert ended.stderr.strip() == (
        "mmrag: nothing can be written (No space left on device). "
        "Free some space, or use another disk; what was committed is kept."
    )


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/d/x"),
            "nothing can be written to /d/x (No space",
        ),
        (
            OSError(errno.EROFS, "Read-only file system"),
            "nothing can be written (Read-only file system). Free",
        ),
        (
            sqlite3.OperationalError("database or disk is full"),
            "the index cannot be read or written (database",
        ),
        (OSError(errno.ENOENT, "No such file or directory", "x"), "[Errno 2] No such file or directory: 'x'"),
    ],
)
def test_every_kind_of_it_is_one_line(capsys, error, words):
    def fail() -> int:
        raise error

    assert exit_code(fail, "mmrag index", as_json=True) == EXIT_FAILED
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith(f"mmrag index: {words}")
    assert words[:40] in printed.out


def test_a_command_that_ends_well_says_nothing(capsys):
    assert main(["--version"]) == EXIT_OK
    assert capsys.readouterr().err == ""
