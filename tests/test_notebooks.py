"""The notebooks as they are committed: executed, small, named where one looks for them, of no machine.

`make notebooks` executes them; here is only what was stored.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]
LARGEST = 400_000
"""Bytes of a notebook."""
MACHINE = re.compile(r"(?<![\w.])/(?:tmp|root|home|work|Users)/\w")


def cells_of(path):
    return json.loads(path.read_text("utf-8"))["cells"]


def source_of(cell):
    return "".join(cell["source"])


def test_there_are_seven_in_order():
    assert [name[:3] for name in NAMES] == [f"0{number}_" for number in range(1, 8)]


def test_readme_has_each_with_its_claim():
    text = (FOLDER / "README.md").read_text("utf-8")
    assert re.findall(r"^\| \[(\w+)\.ipynb\]\(\1\.ipynb\) \|", text, re.M) == NAMES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_is_small(path):
    assert path.stat().st_size < LARGEST


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_every_cell_was_executed_in_order_and_none_failed(path):
    code = [cell for cell in cells_of(path) if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    kinds = {output["output_type"] for cell in code for output in cell["outputs"]}
    assert kinds <= {"stream", "display_data", "execute_result"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_no_cell_shows_a_machine(path):
    for cell in cells_of(path):
        shown = [output.get("text", []) for output in cell.get("outputs", [])]
        shown += [output.get("data", {}).get("text/plain", []) for output in cell.get("outputs", [])]
        assert not MACHINE.search(source_of(cell) + "".join(map("".join, shown)))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_claims_first_and_says_what_it_does_not_show(path):
    texts = [source_of(cell) for cell in cells_of(path) if cell["cell_type"] == "markdown"]
    assert texts[0].startswith("# ") and "**Claim" in texts[0]
    assert sum("## What this does not show" in text for text in texts) == 1


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_links_of_a_notebook_lead_somewhere(path):
    texts = "\n".join(source_of(cell) for cell in cells_of(path) if cell["cell_type"] == "markdown")
    links = re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", texts)
    assert [link for link in links if not (FOLDER / link).exists()] == []


# ---- replies that are repeated ----

RECORDED = sorted((FOLDER / "recorded").glob("*.jsonl"))


@pytest.fixture
def replay(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import replay

    yield replay
    sys.modules.pop("replay")


@pytest.mark.parametrize("path", RECORDED, ids=[path.stem for path in RECORDED])
def test_recorded_replies_are_repeated(replay, path):
    server = replay.Server(path, "", keep=False)
    try:
        for exchange in server.exchanges:
            assert server.reply(exchange["path"], exchange["body"]) == exchange["reply"]
        assert server.repeated == server.asked == len(server.exchanges) > 0
    finally:
        server.server_close()


def test_a_request_that_was_not_recorded_gets_the_reply_to_the_most_alike(replay, tmp_path):
    texts = ("red blue green", "one two three")
    bodies = [{"messages": [{"role": "user", "content": text}]} for text in texts]
    lines = [{"path": "/v1/chat", "body": body, "reply": {"n": n}} for n, body in enumerate(bodies)]
    file = tmp_path / "a.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    server = replay.Server(file, "", keep=False)
    try:
        near = {"messages": [{"role": "user", "content": "one two four"}]}
        assert server.reply("/v1/chat", near) == {"n": 1}
        assert (server.asked, server.repeated) == (1, 0)
        with pytest.raises(LookupError, match="must hold a reply to /v1/models"):
            server.reply("/v1/models", None)
        with pytest.raises(LookupError, match="must hold a reply"):
            server.reply("/v1/chat", {**near, "logprobs": True})  # an answer is no thought
    finally:
        server.server_close()


def test_replies_are_recorded_through_the_server_and_then_repeated(replay, tmp_path):
    """A recorder in front of a repeater writes what the repeater has, once each."""
    first = replay.serve(RECORDED[0])
    file = tmp_path / "again.jsonl"
    recorder = replay.serve(file, first.url, keep=True)
    try:
        some = first.exchanges[:5]
        for exchange in [*some, some[0]]:
            assert recorder.reply(exchange["path"], exchange["body"]) == exchange["reply"]
        assert [json.loads(line) for line in file.read_text("utf-8").splitlines()] == some
    finally:
        for server in (recorder, first):
            server.shutdown()
            server.server_close()
