"""Progress in a pipe: a line a minute, and no line for work that is done before."""

from __future__ import annotations

import io
import sys

import pytest

from mmrag.cli.progress import INTERVAL, Progress
from mmrag.ingest.report import AddProgress


def test_a_line_a_minute_where_no_person_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with Progress(clock=lambda: now) as progress:
        for now in range(0, 200, 5):
            progress.show_add(AddProgress("a.pdf", 1, 3, now, float(now or 1), 30.0))
    lines = sys.stderr.getvalue().splitlines()
    assert len(lines) == 200 // INTERVAL
    assert lines[0] == "1/3 files, 60 pages, 1.0/s, 0:30 left  a.pdf"


def test_quick_work_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with Progress() as progress:
        show = progress.counter("queries")
        show(1, 2)
        show(2, 2)
    assert sys.stderr.getvalue() == ""
