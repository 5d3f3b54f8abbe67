"""``mmrag api``: what it refuses before it listens."""

from __future__ import annotations

import json
import socket

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'ui'")

from mmrag import DocumentQA
from mmrag.cli.app import main


@pytest.fixture
def index(tmp_path, embedder, text_encoder):
    with DocumentQA.open(tmp_path / "index", embedder=embedder) as qa:
        qa.add_texts(["Green tea is steeped at 80 degrees."])
    return ["--index", str(tmp_path / "index"), "--embedder", str(text_encoder), "--rerank", "none"]


def test_a_port_that_is_taken_is_told_in_a_line(index, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["api", *index, "--port", str(taken.getsockname()[1])]) == 2
    assert "must be free to listen on" in capsys.readouterr().err


def test_other_machines_need_a_key(index, capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("MMRAG_API_KEY", raising=False)
    assert main(["api", *index, "--host", "0.0.0.0"]) == 2
    assert "give --keys FILE" in capsys.readouterr().err
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps([{"key": "a-key-of-some-length"}]))
    monkeypatch.setenv("MMRAG_API_KEY", "another-key-of-some-length")
    assert main(["api", *index, "--keys", str(keys)]) == 2
    assert "got both" in capsys.readouterr().err


def test_collections_are_names_and_folders(index, capsys, tmp_path):
    for value in ("reports", "=x", "reports="):
        assert main(["api", *index, "--collection", value]) == 2
        assert "must be NAME=DIR" in capsys.readouterr().err
    assert main(["api", "--collection", f"a={tmp_path / 'none'}", "--read-only"]) == 1
    assert "must be a directory with an index" in capsys.readouterr().err
