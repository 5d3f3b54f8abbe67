"""The JSON that a model answers with, and what can be read of a reply that is not quite that.

Models put words before the JSON, forget a key, write a page as ``"2"``, run on behind the end or are stopped
in the middle of their citations; servers that ignore ``response_format`` let them write plain text. All of
that still has an answer in it, which is then checked like any other. A reply without a whole one is an error.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from mmrag.serving.partial_json import replace_surrogates

_ANSWER = re.compile(r'"answer"\s*:\s*("(?:[^"\\]|\\.)*")', re.DOTALL)
_ANSWERABLE = re.compile(r'"answerable"\s*:\s*"?(true|false)', re.IGNORECASE)
_OBJECT = re.compile(r"\{[^{}]*\}")
_SHAPE = '{"answerable": bool, "answer": str, "citations": [{"page": int, "quote": str}]}'


class ReplyError(ValueError):
    """A reply without an answer; its message is what was wrong."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said.

    Attributes:
        text: of the answer, with its marks.
        answerable: whether the pages answer the question, as the model sees it.
        quotes: page and passage, as listed.
        note: about the form of the reply; ``""`` if it was as requested.
    """

    text: str
    answerable: bool
    quotes: tuple[tuple[int, str], ...] = ()
    note: str = ""


def read_reply(content: str) -> Reply:
    """Read a model's reply, without its thought.

    Raises:
        ReplyError: there is no whole answer in it.
    """
    content = _without_fence(content.strip())
    start = content.find("{")
    if start != 0 and not _ANSWER.search(content):
        if not content or content[0] == "[":
            raise ReplyError("an answer must be one JSON object")
        return Reply(
            replace_surrogates(content), answerable=True, note="the model wrote plain text, and no quotes"
        )
    payload, note = _payload(content[start:])
    if not isinstance(payload.get("answer"), str):
        raise ReplyError(f"an answer must be {_SHAPE}")
    items = payload.get("citations")
    quotes = [_quote(item) for item in (items if isinstance(items, list) else ())]
    answerable = str(payload.get("answerable", True)).lower() not in ("false", "no")
    return Reply(
        replace_surrogates(payload["answer"]), answerable, tuple(quote for quote in quotes if quote), note
    )


def _payload(content: str) -> tuple[dict[str, Any], str]:
    """Return the reply's JSON object, or its parts as far as they are whole, and what was wrong."""
    decoder = json.JSONDecoder(strict=False, object_pairs_hook=_refuse_repeated_keys)
    try:
        # strict=False: models write line breaks into strings where no schema holds them.
        value, _ = decoder.raw_decode(content)
        return value, ""
    except ReplyError:
        raise
    except (ValueError, RecursionError) as error:
        answer = _ANSWER.search(content)
        if answer is None:
            raise ReplyError(f"an answer must be one JSON object ({error})") from error
    try:
        parts: dict[str, Any] = {"answer": json.loads(answer[1], strict=False), "citations": []}
    except ValueError as error:  # a backslash before a letter that stands for nothing
        raise ReplyError(f"an answer must be one JSON object ({error})") from error
    if answerable := _ANSWERABLE.search(content):
        parts["answerable"] = answerable[1]
    for item in _OBJECT.finditer(content, answer.end()):
        try:
            parts["citations"].append(json.loads(item[0], strict=False))
        except (ValueError, RecursionError):
            continue  # a citation that cannot be read is none
    return parts, "the model's reply broke off or was no JSON: citations may be missing"


def _quote(item: Any) -> tuple[int, str] | None:  # noqa: ANN401
    """Return page and passage of a listed citation; None if it names no page."""
    if not isinstance(item, dict) or isinstance(item.get("page"), bool):
        return None
    number = re.search(r"-?\d{1,4}", str(item.get("page")))
    passage = item.get("quote")
    text = replace_surrogates(passage) if isinstance(passage, str) else ""
    return (int(number[0]), text) if number else None


def _without_fence(content: str) -> str:
    """Return what stands between the lines of a fence around the content, or the content."""
    first, line_break, rest = content.partition("\n")
    is_fence = line_break and first.rstrip().lower() in ("```", "```json") and rest.endswith("```")
    return rest.removesuffix("```").strip() if is_fence else content


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ReplyError("an answer must be one JSON object (a key occurs twice)")
    return value
