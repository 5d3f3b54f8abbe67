"""A release: sums that `sha256sum` reads, a folder that is empty, and names whose answer is said as it is."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="the script needs tomllib")


@pytest.fixture
def release(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import release

    return release


def test_sums_are_of_every_file_but_themselves(release, tmp_path):
    (tmp_path / "b.whl").write_bytes(b"wheel")
    (tmp_path / "a.tar.gz").write_bytes(b"source")
    text = release.sums(tmp_path)
    (tmp_path / "SHA256SUMS").write_text(text)
    names = [line.split("  ")[1] for line in text.splitlines()]
    assert names == ["a.tar.gz", "b.whl"] and release.sums(tmp_path) == text
    assert text.splitlines()[1].startswith(hashlib.sha256(b"wheel").hexdigest())


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_the_system_checks_the_sums(release, tmp_path):
    (tmp_path / "b.whl").write_bytes(b"wheel")
    (tmp_path / "SHA256SUMS").write_text(release.sums(tmp_path))
    check = ["sha256sum", "--check", "--quiet", "SHA256SUMS"]
    assert subprocess.run(check, cwd=tmp_path).returncode == 0
    (tmp_path / "b.whl").write_bytes(b"another")
    assert subprocess.run(check, cwd=tmp_path, capture_output=True).returncode == 1


def test_a_folder_with_files_is_refused_before_anything_is_built(release, tmp_path, monkeypatch):
    (tmp_path / "old.whl").touch()
    monkeypatch.setattr(release, "run", lambda command: pytest.fail(f"ran {command}"))
    monkeypatch.setattr(sys, "argv", ["release.py", str(tmp_path)])
    with pytest.raises(SystemExit, match="must be absent or empty"):
        release.main()


@pytest.mark.parametrize(
    ("code", "said", "answer"),
    [
        (0, "", "TAKEN"),
        (
            1,
            "WARNING: Retrying after connection broken",
            "not known: the index was not reached",
        ),
        (1, "ERROR: No matching distribution found for mmrag", "no distribution that pip could install"),
    ],
)
def test_a_name_is_free_only_where_the_index_says_so(release, monkeypatch, code, said, answer):
    made = SimpleNamespace(returncode=code, stderr=said)
    monkeypatch.setattr(release.subprocess, "run", lambda *_, **__: made)
    assert release.availability("mmrag").startswith(answer)


def test_the_three_distributions_are_built(release):
    assert release.NAMES == ("mmrag", "langchain-mmrag", "llama-index-mmrag")
    assert len(release.PROJECTS) == len(release.NAMES)


def test_the_oldest_hosts_are_those_that_the_integrations_allow(release):
    pins = dict(pin.split("==") for pin in release.oldest_hosts())
    assert tuple(pins) == release.HOSTS
    root = SCRIPTS.parent / "integrations"
    assert f"langchain-core>={pins['langchain-core']}," in (
        root / "langchain-mmrag" / "pyproject.toml"
    ).read_text("utf-8")
    assert f"llama-index-core>={pins['llama-index-core']}," in (
        root / "llama-index-mmrag" / "pyproject.toml"
    ).read_text("utf-8")


@pytest.mark.parametrize("texts", [[], ['"langchain-core>=1.0"', '"langchain-core>=2.0"']])
def test_a_host_has_one_lowest_version(release, texts):
    with pytest.raises(SystemExit, match="one lowest version of langchain-core"):
        release._floor("langchain-core", texts)
