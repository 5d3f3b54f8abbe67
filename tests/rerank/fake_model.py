"""Drives modes without a server: a function answers every request, so the requests can be tested."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image, ImageDraw

from mmrag.rerank.protocol import Mode, PreparedMode, Verdicts
from mmrag.serving.requests import Request, Requests
from mmrag.types import Candidate, Page, Query, Ranking, Record, Source, Verdict

SOURCE = Source("a" * 64, "pdf", "a.pdf")
YES, NO = 1, 2
Reply = Callable[[Request], dict[str, Any]]


def picture(text: str, size: tuple[int, int] = (64, 48)) -> Image.Image:
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).text((2, 2), text, fill="black")
    return image


def candidates(*texts: str, images: bool = True) -> list[Candidate]:
    made = []
    for number, text in enumerate(texts):
        shown = picture(text[:8]) if images else None
        page = Page(f"p{number}", "d", number, str(number + 1), text, (), (64, 48), SOURCE, image=shown)
        made.append(Candidate(Record(page.id, None, text, page=page), float(-number), number + 1))
    return made


def ranking(*texts: str, query: str = "what is it?", images: bool = True) -> Ranking:
    return Ranking(Query(query), tuple(candidates(*texts, images=images)))


def run(steps: Requests[Any], reply: Reply) -> tuple[Any, list[Request]]:
    """Return a generator's result, and its requests."""
    asked: list[Request] = []
    try:
        ask = next(steps)
        while True:
            asked.append(ask)
            ask = steps.send(reply(ask))
    except StopIteration as end:
        return end.value, asked


def drive(
    mode: Mode, query: Query, shown: Sequence[Candidate], reply: Reply
) -> tuple[list[Verdict], list[list[Request]], list[str]]:
    """All verdicts, the requests of each generator, and the notes."""
    if isinstance(mode, PreparedMode):
        run(mode.prepare(), reply)
    verdicts: list[Verdict] = []
    asked, notes = [], []
    for steps in mode.requests(query, shown):
        judged, requests = run(steps, reply)
        verdicts += judged
        asked.append(requests)
        notes += judged.notes if isinstance(judged, Verdicts) else []
    return verdicts, asked, notes


def tokens(*ids: int, context: int = 4096, end: str = "assistant\n") -> dict[str, Any]:
    return {
        "tokens": list(ids),
        "count": len(ids),
        "max_model_len": context,
        "token_strs": ["<|im_start|>", end],
    }


def chat(content: str, finish: str = "stop", **message: Any) -> dict[str, Any]:
    choice = {"message": {"content": content, **message}, "finish_reason": finish}
    return {"choices": [choice], "usage": {"prompt_tokens": 11, "completion_tokens": 5}}


def yes_no(probability: float) -> dict[str, Any]:
    listed = [
        {"token": f"token_id:{YES}", "logprob": math.log(probability)},
        {"token": f"token_id:{NO}", "logprob": math.log(1 - probability)},
    ]
    logprobs = {"content": [{"token": f"token_id:{YES}", "top_logprobs": listed}]}
    choice = {"message": {"content": "yes"}, "finish_reason": "length", "logprobs": logprobs}
    return {"choices": [choice], "usage": {"prompt_tokens": 11, "completion_tokens": 1}}


def text_of(ask: Request) -> str:
    """All text of a request's messages."""
    found = []
    for message in (ask.body or {})["messages"]:
        parts = message["content"]
        found += [parts] if isinstance(parts, str) else [part.get("text", "") for part in parts]
    return "\n".join(found)


def replies(
    context: int = 4096, end: str = "assistant\n", thought: str = "It is. So it", **chats: Any
) -> Reply:
    """A model of one mind: counts four characters as a token, and says yes the more, the longer the page."""

    def reply(ask: Request) -> dict[str, Any]:
        body = ask.body or {}
        if ask.path == "/tokenize" and "prompt" in body:
            first = {"yes": YES, "no": NO}.get(body["prompt"].strip().lower())
            length = len(body["prompt"]) // 4
            return tokens(*([first] if first else range(10, 10 + length)), context=context)
        if ask.path == "/tokenize":
            return tokens(*range(len(text_of(ask)) // 4 + 64 * len(ask.pictures)), context=context, end=end)
        if "logprob_token_ids" in body:
            return yes_no(1 / (2 + len(text_of(ask)) % 97))
        if "structured_outputs" in body:
            return chat(chats["order"](ask))
        return chat(thought, "length")

    return reply
