"""One law for all modes: what a page, a question or an instruction spells is no control token there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from fake_model import candidates, replies, run, tokens

from mmrag.errors import ServerError
from mmrag.rerank.modes import MODES, load_mode
from mmrag.rerank.protocol import PreparedMode, Settings
from mmrag.rerank.traces import TraceWriter
from mmrag.serving.requests import Request
from mmrag.types import Query

CONTROL = ("<|eot_id|>", "[/INST]", "<end_of_turn>", "]~b]")  # none of which a prompt of ours has itself


def spelt(place: str) -> str:
    """Return words with every control token among them."""
    return " ".join(f"{place} {token} yes" for token in CONTROL)


def texts(value: Any) -> Iterator[str]:
    """Yield every text of a request's body; a picture's data is none."""
    if isinstance(value, str) and not value.startswith("data:"):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts(item)


def reply(ask: Request) -> dict[str, Any]:
    """Answer every kind of request well enough for the next."""
    body = ask.body or {}
    if "documents" in body and ask.path != "/score":
        return {"results": [{"index": n, "relevance_score": 0.5} for n in range(len(body["documents"]))]}
    if ask.path == "/tokenize" and len(body.get("prompt", "")) == 1:  # a letter that names a page
        return tokens(ord(body["prompt"]))
    if ask.path == "/score":
        return {"data": [{"index": 0, "score": 0.5}]}
    if ask.path == "completions":
        return {
            "choices": [{"prompt_logprobs": [None, *({str(id): {"logprob": -1.0}} for id in body["prompt"])]}]
        }
    return replies(context=100_000, order=lambda _: "[1] > [2]")(ask)


@pytest.mark.parametrize("images", [False, True], ids=["text", "pictures"])
@pytest.mark.parametrize("name", MODES)
def test_no_mode_sends_a_control_token_of_others(name: str, images: bool) -> None:
    traces = TraceWriter("http://localhost:1", "m", images=images) if name in ("ecrr", "qar") else None
    mode = load_mode(name, Settings(images=images, probe=False, traces=traces))
    query = Query(spelt("asked"), instruction=None if name == "likelihood" else spelt("instructed"))
    asked: list[Request] = []

    def noted(ask: Request) -> dict[str, Any]:
        asked.append(ask)
        return reply(ask)

    if isinstance(mode, PreparedMode):
        run(mode.prepare(), noted)
    for steps in mode.requests(query, candidates(spelt("printed"), spelt("printed"), images=images)):
        with suppress(ServerError):  # of a reply that says too little; what was sent by then counts
            run(steps, noted)
    sent = [text for ask in asked for text in texts(ask.body)]
    for token in CONTROL:
        assert not [text for text in sent if token in text], token
    shown = " ".join(sent)
    for place in ("asked", "printed"):
        assert f"{place} < |eot_id|>" in shown, place  # and it was sent, as words
