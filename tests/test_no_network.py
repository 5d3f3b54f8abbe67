"""The package works where every network call is refused: nothing is looked up, and nothing is tried."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mmrag
from mmrag.samples import sample_documents

REFUSE = """
import os, socket, sys

def refuse(event, args):
    if event == "socket.connect" or event in ("socket.sendto", "socket.sendmsg"):
        if args[0].family == getattr(socket, "AF_UNIX", None):
            return
    elif event not in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        return
    with open(os.environ["TRIED"], "a") as file:
        print(event, args[1:] or args, file=file)
    raise OSError(f"no network here: {event}")

sys.addaudithook(refuse)
"""
"""As Python starts: connecting and looking up names. Reading processes start isolated, without this, and
refuse the same by themselves (``tests/documents/test_workers.py``)."""

ASK = """
import sys
from mmrag import DocumentQA

folder, document, question = sys.argv[1:]
with DocumentQA.open(folder) as qa:
    qa.add(document)
    answer = qa.ask(question)
    print(qa.embedder.name)
    print(answer.text)
    print(sorted(candidate.page.number for candidate in answer.ranking))
"""


def run(code: str, *arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "sitecustomize.py").write_text(REFUSE)
    path = os.pathsep.join([str(folder), str(Path(mmrag.__file__).parent.parent)])
    environment = os.environ | {"PYTHONPATH": path, "TRIED": str(folder / "tried"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "call",
    [
        "socket.create_connection(('127.0.0.1', 9))",
        "socket.socket().connect(('127.0.0.1', 9))",
        "socket.getaddrinfo('localhost', 80)",
    ],
)
def test_the_block_refuses(tmp_path: Path, call: str) -> None:
    made = run(f"import socket; {call}", folder=tmp_path)
    assert made.returncode == 1
    assert "no network here" in made.stderr
    assert (tmp_path / "tried").read_text().startswith("socket.")


def test_a_document_is_indexed_and_a_question_answered(tmp_path: Path) -> None:
    document = sample_documents() / "insurance-claim-form.pdf"
    made = run(
        ASK,
        tmp_path / "index",
        document,
        "How much does Marchetti Boat Joinery claim after the excess?",
        folder=tmp_path,
    )
    assert made.returncode == 0, made.stderr
    name, *answer, pages = made.stdout.splitlines()
    assert name == "mmrag-mini"
    assert any(line.strip() for line in answer)
    assert pages == "[0, 1]"
    assert not (tmp_path / "tried").exists(), (tmp_path / "tried").read_text()
