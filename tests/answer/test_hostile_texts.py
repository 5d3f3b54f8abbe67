"""Work on a text from outside grows with its length and no faster: a hundred texts, a bound of CPU time."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import mmrag

PROGRAM = Path(__file__).with_name("hostile_texts.py")
READERS = re.findall(r'^    "([a-z ]+)": ', PROGRAM.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("name", READERS)
def test_what_reads_texts_from_outside_takes_time_in_proportion(name: str) -> None:
    """The limit ends the program: what is quadratic takes a minute for a single text. Nothing may raise."""
    pytest.importorskip("resource", reason="this system has no limits of processor time")
    environment = {"PYTHONPATH": str(Path(mmrag.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(PROGRAM), name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-500:]}"
