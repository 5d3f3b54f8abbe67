"""What the stages `restore` and `reason` learn from: prompts with their responses.

``restore`` reads JSONL, one lesson a line, and documents::

    {"image": "chart.png",                         a picture file; or a page: "path": "a.pdf", "page": 3
     "prompt": "What was sold most?",              or "messages": [{"role": "user", "content": "..."}, ...]
     "response": "Bridges."}                       may be left out where the messages end with the assistant

A picture stands before the first user turn, and none is needed. ``page`` counts from 0; relative paths start
from the file's own folder. Of messages with several answers only the last is learnt. A sub-dataset whose path
is a folder or a document is read as OCR-like data: each page with a text layer is a lesson, its text the
response. Lessons are not packed: a batch is padded to its longest.

``reason`` reads a teacher's traces (`mmrag.rerank.traces`), one input a line::

    {"side": "document",                           or "query"
     "text": "...", "image": null,                 or "path" and "page"
     "trace": "<think>...</think>...",             or {"thought": "...", "final": "..."}
     "instruction": ""}                            of a query

or lines of ``mmrag mine`` (`mmrag.training.mining.records`): every query and every page in them is an input.
The trace of an input that brings none is looked up in the folder in which a `TraceWriter` kept it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmrag.rerank.trace_text import Trace, read_trace
from mmrag.serving.client import ChatReply
from mmrag.training.config import RestoreConfig
from mmrag.training.data import Side, _side

logger = logging.getLogger(__name__)

LESSON_KEYS = frozenset({"id", "image", "path", "page", "prompt", "messages", "response"})
TRACE_KEYS = frozenset({"id", "side", "text", "image", "path", "page", "sha256", "trace", "instruction"})
ROLES = ("system", "user", "assistant")
SHORTEST_PAGE = 20  # characters of a page's text; fewer are no lesson in reading
MINED_LISTS = ("positives", "negatives", "removed")


@dataclass(frozen=True, slots=True)
class Lesson:
    """A prompt and what is to be answered.

    Attributes:
        name: for messages.
        content: its picture, before the first user turn; None for a lesson of words.
        turns: role and text; the last is the user's.
        response: what is learnt.
    """

    name: str
    content: Side | None
    turns: tuple[tuple[str, str], ...]
    response: str

    @property
    def sides(self) -> tuple[Side, ...]:
        """What files are needed for."""
        return () if self.content is None else (self.content,)


@dataclass(frozen=True, slots=True)
class Traced:
    """A query or a document with what is to be said of it.

    Attributes:
        name: for messages.
        side: ``"query"`` or ``"document"``.
        content: its text and picture.
        trace: None where it is to be looked up.
        instruction: of a query.
        sha256: of the document's file, by which traces are found.
    """

    name: str
    side: str
    content: Side
    trace: Trace | None = None
    instruction: str = ""
    sha256: str | None = None

    @property
    def sides(self) -> tuple[Side, ...]:
        """What files are needed for."""
        return (self.content,)


# ---------------------------------------------------------------------------------------- lessons


def read_lessons(path: str | Path, settings: RestoreConfig, *, cap: int | None = None) -> list[Lesson]:
    """The lessons of a JSONL file, or of the pages of a document or a folder of documents.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is not as the module says, or there is no lesson; the message names the line.
    """
    file = Path(path)
    if file.is_dir() or (file.is_file() and file.suffix.lower() not in (".jsonl", ".json", ".ndjson")):
        found = _pages(file, settings)
    else:
        found = (_lesson(value, where, file.parent) for value, where in _lines(file))
    lessons = []
    for lesson in found:
        lessons.append(lesson)
        if cap is not None and len(lessons) >= cap:
            break
    if not lessons:
        what = "a page with a text layer" if file.suffix.lower() != ".jsonl" else "a lesson"
        raise ValueError(f"{file} must hold at least {what}, got none.")
    return lessons


def _lesson(value: Mapping[str, Any], where: str, folder: Path) -> Lesson:
    _check_keys(value, LESSON_KEYS, where)
    turns = _turns(value, where)
    response = value.get("response")
    if response is None and turns and turns[-1][0] == "assistant":
        response = turns[-1][1]
        turns = turns[:-1]
    if not isinstance(response, str) or not response.strip():
        raise ValueError(f"{where}: 'response' must be text with words in it, got {response!r}.")
    if not turns or turns[-1][0] != "user":
        raise ValueError(f"{where}: 'messages' must end with the user before the response.")
    content = None
    if value.get("image") is not None or value.get("path") is not None:
        content = _side(_from_folder({**value, "text": ""}, folder, where), where)
    return Lesson(where, content, turns, response)


def _turns(value: Mapping[str, Any], where: str) -> tuple[tuple[str, str], ...]:
    prompt, messages = value.get("prompt"), value.get("messages")
    if (prompt is None) == (messages is None):
        raise ValueError(f"{where}: must have either 'prompt' or 'messages', got both or none.")
    if prompt is not None:
        messages = [{"role": "user", "content": prompt}]
    if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
        raise ValueError(f"{where}: 'messages' must be a list of objects, got {messages!r}.")
    turns = []
    for message in messages:
        role, text = message.get("role"), message.get("content")
        if role not in ROLES or not isinstance(text, str):
            raise ValueError(
                f"{where}: a message must have a 'role' ({', '.join(ROLES)}) and a text as 'content', got "
                f"{message!r}."
            )
        turns.append((role, text))
    return tuple(turns)


def _pages(path: Path, settings: RestoreConfig) -> Iterator[Lesson]:
    """Every page with a text layer of the documents there."""
    from mmrag.documents import DocumentReader, ReaderSettings, Skipped, discover

    with DocumentReader(ReaderSettings(ocr="off")) as reader:
        for found in discover(str(path)):
            if isinstance(found, Skipped):
                logger.warning("%s is left out: %s", found.name, found.reason)
                continue
            for page in reader.pages(found):
                if isinstance(page, Skipped):
                    logger.warning("%s is left out: %s (page %s)", page.name, page.reason, page.page)
                elif page.text_source == "layer" and len(page.text.strip()) >= SHORTEST_PAGE:
                    where = f"{page.source.path}, page {page.number + 1}"
                    side = _side({"path": page.source.path, "page": page.number, "sha256": page.id}, where)
                    text = page.text.strip()[: settings.page_chars]
                    yield Lesson(where, side, (("user", settings.page_prompt),), text)


# ----------------------------------------------------------------------------------------- traces


def read_traced(path: str | Path, *, cap: int | None = None) -> list[Traced]:
    """The inputs of a JSONL file, with the traces that they bring; each content once a side.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is not as the module says, or there is none; the message names the line.
    """
    file = Path(path)
    inputs: dict[tuple[str, str, str], Traced] = {}
    for value, where in _lines(file):
        for one in _mined(value, where) if "format" in value else [_traced(value, where, file.parent)]:
            inputs.setdefault((one.side, one.content.key, one.instruction), one)
        if cap is not None and len(inputs) >= cap:
            break
    if not inputs:
        raise ValueError(f"{file} must hold at least one input, got none.")
    return list(inputs.values())[:cap]


def _mined(value: Mapping[str, Any], where: str) -> Iterator[Traced]:
    if value.get("skipped"):
        return
    yield Traced(f"{where}: query", "query", _side(value["query"], f"{where}: query"))
    for item in (item for name in MINED_LISTS for item in value.get(name, ())):
        name = f"{where}: {item['id']!r}"
        yield Traced(name, "document", _side(item, name), sha256=item.get("sha256"))


def _traced(value: Mapping[str, Any], where: str, folder: Path) -> Traced:
    _check_keys(value, TRACE_KEYS, where)
    side = value.get("side", "document")
    if side not in ("query", "document"):
        raise ValueError(f"{where}: 'side' must be 'query' or 'document', got {side!r}.")
    instruction = value.get("instruction") or ""
    if not isinstance(instruction, str):
        raise ValueError(f"{where}: 'instruction' must be text, got {instruction!r}.")
    content = _side(_from_folder(value, folder, where), where)
    return Traced(where, side, content, _trace(value, where), instruction, value.get("sha256"))


def _trace(value: Mapping[str, Any], where: str) -> Trace | None:
    given = value.get("trace")
    if given is None:
        return None
    if isinstance(given, str) and given.strip():
        return read_trace(ChatReply(content=given, thought="", finish_reason="stop"), 0)
    if isinstance(given, dict) and isinstance(given.get("final"), str) and given["final"].strip():
        return Trace(str(given.get("thought") or ""), given["final"])
    raise ValueError(f"{where}: 'trace' must be text or have a 'thought' and a 'final', got {given!r}.")


# ------------------------------------------------------------------------------------------ lines


def _lines(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    if not path.is_file():
        raise FileNotFoundError(f"a sub-dataset must be a file or a folder, {str(path)!r} is none.")
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            where = f"{path}, line {number}"
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{where}: must be one JSON object, got bad JSON ({error}).") from error
            if not isinstance(value, dict):
                raise ValueError(f"{where}: must be one JSON object, got {type(value).__name__}.")
            yield value, where


def _check_keys(value: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    import difflib

    for key in value:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(sorted(known))}."
            raise ValueError(f"{where}: unknown key {key!r}.{hint}")


def _from_folder(value: Mapping[str, Any], folder: Path, where: str) -> dict[str, Any]:
    """A line with absolute paths; what names its content checked."""
    made = dict(value)
    for name in ("image", "path", "text"):
        if made.get(name) is not None and not isinstance(made[name], str):
            raise ValueError(f"{where}: {name!r} must be text, got {made[name]!r}.")
    for name in ("image", "path"):
        if made.get(name) is not None:
            made[name] = str((folder / Path(made[name]).expanduser()).resolve())
    page = made.get("page")
    if made.get("path") is not None and (not isinstance(page, int) or isinstance(page, bool) or page < 0):
        raise ValueError(f"{where}: 'page' must be a whole number from 0 beside 'path', got {page!r}.")
    return made
