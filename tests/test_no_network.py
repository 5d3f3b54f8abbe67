"""The package works where every network call is refused: nothing is looked up, and nothing is tried."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mmrag
from mmrag import DocumentQA
from mmrag.cli.app import COMMANDS as COMMAND_TABLE
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
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=refusing(folder), capture_output=True, text=True, check=False)


def refusing(folder: Path) -> dict[str, str]:
    """The environment of a Python that refuses the network and notes in ``tried`` what was tried."""
    path = os.pathsep.join([str(folder), str(Path(mmrag.__file__).parent.parent)])
    return os.environ | {"PYTHONPATH": path, "TRIED": str(folder / "tried"), "OMP_NUM_THREADS": "1"}


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


COMMANDS = """
import json, sys
from mmrag.cli import main

for line in sys.stdin:
    arguments = json.loads(line)
    code = main(arguments)
    if code != 0:
        sys.exit(f"{arguments} ended with {code}")
"""


def offline_commands() -> list[list[str]]:
    """The commands that docs/offline.md says need no network, without ``mmrag``."""
    text = (Path(mmrag.__file__).parents[1] / "docs" / "offline.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh offline\n(.*?)```", text, re.DOTALL)
    return [shlex.split(line)[1:] for line in block.splitlines()]


def test_the_page_names_every_command_that_needs_no_server_and_no_checkpoint() -> None:
    named = {command[0] for command in offline_commands()} | {"ui", "api", "mcp"}
    assert set(COMMAND_TABLE) - named == {"serve", "mine", "train"}  # a GPU's server, and training


@pytest.mark.slow
def test_the_commands_of_the_page_run_where_every_call_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(REFUSE)
    (tmp_path / "reports").mkdir()
    shutil.copy(sample_documents() / "insurance-claim-form.pdf", tmp_path / "reports")
    lines = "".join(json.dumps(command) + "\n" for command in offline_commands())
    made = subprocess.run(
        [sys.executable, "-c", COMMANDS],
        input=lines,
        env=refusing(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr[-2000:]
    assert not (tmp_path / "tried").exists(), (tmp_path / "tried").read_text()
    assert (tmp_path / "marked.pdf").is_file() and (tmp_path / "talk.jsonl").is_file()


@pytest.mark.skipif(os.name == "nt", reason="a server is stopped by a signal")
@pytest.mark.parametrize("command", ["ui", "api"])
def test_a_server_starts_where_every_call_is_refused(tmp_path: Path, command: str) -> None:
    pytest.importorskip("fastapi", reason="needs the extra 'ui'")
    pytest.importorskip("uvicorn", reason="needs the extra 'ui'")
    (tmp_path / "sitecustomize.py").write_text(REFUSE)
    code = "import sys; from mmrag.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = [command, "--index", tmp_path / "index", "--port", "0"]
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=refusing(tmp_path) | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        said = ""
        while "http://" not in said and (line := server.stdout.readline()):
            said += line
        # not SIGINT: a shell that runs us in the background has its children ignore it
        server.terminate()
        try:
            said += server.communicate(timeout=60)[0]
        finally:
            server.kill()
    assert "http://" in said, said
    assert not (tmp_path / "tried").exists(), (tmp_path / "tried").read_text()


def test_tools_for_agents_start_and_end_where_every_call_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("mcp", reason="needs the extra 'mcp'")
    (tmp_path / "sitecustomize.py").write_text(REFUSE)
    DocumentQA.open(tmp_path / "index", reranker=None).close()
    code = "import sys; from mmrag.cli import main; sys.exit(main(sys.argv[1:]))"
    made = subprocess.run(
        [sys.executable, "-c", code, "mcp", "--index", str(tmp_path / "index")],
        stdin=subprocess.DEVNULL,
        env=refusing(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert not (tmp_path / "tried").exists(), (tmp_path / "tried").read_text()
