"""Messages of a conversation: plain dictionaries with ``role`` and ``content``, as chat servers take them.

A message of the user that leaned on earlier ones has the question that was searched under ``standalone``, so
that the next one may lean on that. Everything else in a message is kept as it came.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from mmrag.files import atomic_write, read_json_lines

Message: TypeAlias = dict[str, Any]
ROLES = ("system", "user", "assistant")

MOST_MESSAGES = 200
"""Messages that a conversation keeps; the oldest go first."""


def checked_messages(messages: Iterable[Mapping[str, Any]]) -> list[Message]:
    """Return copies of messages that have a role and a text, the last `MOST_MESSAGES` of them.

    Raises:
        TypeError: the messages are no list of mappings.
        ValueError: a role is unknown, or a content or a ``standalone`` is no text.
    """
    if isinstance(messages, (str, bytes, Mapping)):
        raise TypeError(f"a history must be a list of messages, got {type(messages).__name__}.")
    copies = [_message(message, number) for number, message in enumerate(messages, start=1)]
    return copies[-MOST_MESSAGES:]


def _message(message: object, number: int) -> Message:
    if not isinstance(message, Mapping):
        raise TypeError(
            f"a message must be a mapping with 'role' and 'content', got {type(message).__name__} as number "
            f"{number}."
        )
    if message.get("role") not in ROLES or not isinstance(message.get("content"), str):
        raise ValueError(
            f"a message must have a 'role' of {ROLES} and a text 'content', got "
            f"{_short(dict(message))} as number {number}."
        )
    if not isinstance(message.get("standalone", ""), str):
        raise ValueError(f"'standalone' must be a text, got {_short(message['standalone'])} in {number}.")
    return dict(message)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def last_question(messages: Sequence[Message]) -> str:
    """Return the last question as it was searched; ``""`` if there is none."""
    for message in reversed(messages):
        if message["role"] == "user" and message["content"].strip():
            return str(message.get("standalone") or message["content"])
    return ""


def load_history(path: str | Path) -> list[Message]:
    """Read messages from a file: a JSON list, or JSON Lines; none from a file that is not there.

    Raises:
        ValueError: it holds something else; the message names the line.
    """
    path = Path(path)
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8-sig")
    try:
        if text.lstrip().startswith("["):
            return checked_messages(json.loads(text))
        return checked_messages(message for _, message in read_json_lines(path, "content"))
    except (TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} must hold messages with 'role' and 'content': {error}") from error


def save_history(messages: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Write messages to a file, whole or not at all: a list to ``*.json``, else JSON Lines."""
    with atomic_write(path) as file:
        if Path(path).suffix == ".json":
            file.write(json.dumps(list(messages), ensure_ascii=False, indent=1) + "\n")
            return
        for message in messages:
            file.write(json.dumps(message, ensure_ascii=False) + "\n")
