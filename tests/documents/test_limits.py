"""What a platform lacks costs protection, and no document: `resource`, `fcntl`, ``/proc``, alarms."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import mmrag
from mmrag.documents import limits

ROOT = str(Path(mmrag.__file__).parents[1])

HIDE = "import sys; sys.modules.update(dict.fromkeys(('resource', 'fcntl')))"
"""None as a module makes its import an ImportError."""

READ = """
{hide}
from mmrag.documents import pool
start = pool._bootstrap
pool._bootstrap = lambda: {hide!r} + "; " + start()  # reading processes lack them, too

from mmrag import DocumentQA, ReaderSettings

folder, document = sys.argv[1:]
with DocumentQA.open(folder, reader=ReaderSettings(ocr="off", workers=1)) as qa:
    assert qa.add(document).pages == 2
    best = qa.search("How hot should green tea be?")[0]
    print(best.record.page.number, qa.status().records)
"""


def test_a_pdf_is_read_indexed_and_found_without_resource_and_fcntl(make_pdf, tmp_path: Path) -> None:
    document = make_pdf(tmp_path / "a.pdf", ["The blue whale weighs 150 tonnes.", "Green tea: 80 degrees."])
    run = subprocess.run(
        [sys.executable, "-c", READ.format(hide=HIDE), str(tmp_path / "index"), str(document)],
        env={**os.environ, "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["1", "2"]


def test_hidden_modules_are_hidden() -> None:
    code = f"{HIDE}\nfrom mmrag.documents.limits import limit_memory\nlimit_memory(400)\nimport fcntl"
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": ROOT}, capture_output=True, text=True
    )
    assert "import of fcntl halted" in run.stderr and "resource" not in run.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="macOS ignores the limit, Windows has none")
def test_memory_is_bounded_and_a_lower_limit_is_kept() -> None:
    code = (
        "import resource\n"
        "from mmrag.documents.limits import limit_memory\n"
        "limit_memory(0); print(resource.getrlimit(resource.RLIMIT_AS)[0])\n"
        "limit_memory(900); print(resource.getrlimit(resource.RLIMIT_AS)[0] >> 20)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (800 << 20, 800 << 20))\n"
        "limit_memory(900); print(resource.getrlimit(resource.RLIMIT_AS)[0] >> 20)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": ROOT}, capture_output=True, text=True
    )
    assert run.stdout.split()[1:] == ["900", "800"], run.stderr


def test_without_proc_nothing_is_measured(monkeypatch) -> None:
    monkeypatch.setattr(limits, "Path", lambda name: Path("/nowhere") / name.lstrip("/"))
    assert limits.resident_mb() == 0.0
    assert limits.cpu_seconds(os.getpid()) is None


def test_without_alarms_none_is_set(monkeypatch) -> None:
    monkeypatch.delattr(signal, "setitimer", raising=False)
    limits.set_alarm(1e-9)
