"""Examples of the stages `restore` and `reason`: prompts with their responses, inputs with their traces.

``restore`` reads documents, or JSONL with one example per line::

    {"image": "chart.png",                         a picture file; or a page: "path": "a.pdf", "page": 3
     "prompt": "What was sold most?",              or "messages": [{"role": "user", "content": "..."}, ...]
     "response": "Bridges."}                       optional if the messages end with the assistant's

The picture, which is optional, is shown before the first user turn. ``page`` counts from 0; relative paths
start from the file's own folder. The loss is on the last answer only. If the path of a sub-dataset is a
folder or a document, each page with a text layer is an example whose response is its text, as in OCR data.
Examples are not packed: a batch is padded to its longest.

``reason`` reads a teacher's traces (`mmrag.rerank.traces`), one input per line::

    {"side": "document",                           or "query"
     "text": "...", "image": null,                 or "path" and "page"
     "trace": "<think>...</think>...",             or {"thought": "...", "final": "..."}
     "instruction": ""}                            of a query

or the output of ``mmrag mine`` (`mmrag.training.mining.records`): every query and every page in it is an
input. Traces that are not in the file are looked up in the cache folder of a `TraceWriter`.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from mmrag.errors import check_whole
from mmrag.files import read_json_lines
from mmrag.rerank.trace_text import Trace, read_trace
from mmrag.serving.client import ChatReply
from mmrag.training.config import RestoreConfig
from mmrag.training.data import Side, side_of

logger = logging.getLogger(__name__)

RESPONSE_KEYS = frozenset({"id", "image", "path", "page", "prompt", "messages", "response"})
TRACE_KEYS = frozenset({"id", "side", "text", "image", "path", "page", "sha256", "trace", "instruction"})
ROLES = ("system", "user", "assistant")
SHORTEST_PAGE = 20  # characters; pages with fewer teach no reading
MINED_LISTS = ("positives", "negatives", "removed")
JSONL_SUFFIXES = (".jsonl", ".json", ".ndjson")


@dataclass(frozen=True, slots=True)
class ResponseExample:
    """A prompt with its response.

    Attributes:
        name: for messages.
        content: the picture before the first user turn, or None.
        turns: role and text of each; the last is the user's.
        response: the text to learn.
    """

    name: str
    content: Side | None
    turns: tuple[tuple[str, str], ...]
    response: str

    @property
    def sides(self) -> tuple[Side, ...]:
        """Return the sides whose files the example needs."""
        return () if self.content is None else (self.content,)


@dataclass(frozen=True, slots=True)
class TraceExample:
    """A query or a document with a teacher's trace.

    Attributes:
        name: for messages.
        side: ``"query"`` or ``"document"``.
        content: its text and picture.
        trace: None if it is still to be looked up.
        instruction: of a query.
        sha256: of the document's file; part of the key of its trace.
    """

    name: str
    side: str
    content: Side
    trace: Trace | None = None
    instruction: str = ""
    sha256: str | None = None

    @property
    def sides(self) -> tuple[Side, ...]:
        """Return the sides whose files the example needs."""
        return (self.content,)


# ---- restore -----------------------------------------------------------------------------------------


def read_response_examples(
    path: str | Path, settings: RestoreConfig, *, cap: int | None = None
) -> list[ResponseExample]:
    """Read the examples of a JSONL file, of a document or of a folder of documents.

    Args:
        path: file or folder.
        settings: prompt and length for pages of documents.
        cap: largest number of examples.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: a line is malformed, or there is no example; the message names the line.
    """
    file = Path(path)
    is_document = file.is_dir() or (file.is_file() and file.suffix.lower() not in JSONL_SUFFIXES)
    if is_document:
        read = _pages(file, settings)
    else:
        read = (_response_example(value, where, file.parent) for value, where in _json_lines(file))
    examples = list(islice(read, cap))
    if not examples:
        needed = "a page with a text layer" if is_document else "an example"
        raise ValueError(f"{file} must hold at least {needed}, got none.")
    return examples


def _response_example(value: Mapping[str, Any], where: str, folder: Path) -> ResponseExample:
    _check_keys(value, RESPONSE_KEYS, where)
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
        content = side_of(_with_absolute_paths({**value, "text": ""}, folder, where), where)
    return ResponseExample(where, content, turns, response)


def _turns(value: Mapping[str, Any], where: str) -> tuple[tuple[str, str], ...]:
    prompt, messages = value.get("prompt"), value.get("messages")
    if (prompt is None) == (messages is None):
        raise ValueError(f"{where}: must have either 'prompt' or 'messages', got both or none.")
    if prompt is not None:
        messages = [{"role": "user", "content": prompt}]
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise ValueError(f"{where}: 'messages' must be a list of objects, got {messages!r}.")
    for message in messages:
        if message.get("role") not in ROLES or not isinstance(message.get("content"), str):
            raise ValueError(
                f"{where}: a message must have a 'role' ({', '.join(ROLES)}) and a text as 'content', got "
                f"{message!r}."
            )
    return tuple((message["role"], message["content"]) for message in messages)


def _pages(path: Path, settings: RestoreConfig) -> Iterator[ResponseExample]:
    """Yield an example per page with a text layer."""
    from mmrag.documents import DocumentReader, ReaderSettings, Skipped, discover

    with DocumentReader(ReaderSettings(ocr="off")) as reader:
        for document in discover(str(path)):
            if isinstance(document, Skipped):
                logger.warning("%s is left out: %s", document.name, document.reason)
                continue
            for page in reader.pages(document):
                if isinstance(page, Skipped):
                    logger.warning("%s is left out: %s (page %s)", page.name, page.reason, page.page)
                elif page.text_source == "layer" and len(page.text.strip()) >= SHORTEST_PAGE:
                    where = f"{page.source.path}, page {page.number + 1}"
                    item = {"path": page.source.path, "page": page.number, "sha256": page.id}
                    text = page.text.strip()[: settings.page_chars]
                    turns = (("user", settings.page_prompt),)
                    yield ResponseExample(where, side_of(item, where), turns, text)


# ---- reason ------------------------------------------------------------------------------------------


def read_trace_examples(path: str | Path, *, cap: int | None = None) -> list[TraceExample]:
    """Read the inputs of a JSONL file, each content once per side, with the traces in the file.

    Args:
        path: the file.
        cap: largest number of examples.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is malformed, or there is no input; the message names the line.
    """
    file = Path(path)
    inputs: dict[tuple[str, str, str], TraceExample] = {}
    for value, where in _json_lines(file):
        is_mined = "format" in value
        for example in _mined_inputs(value, where) if is_mined else [_input(value, where, file.parent)]:
            inputs.setdefault((example.side, example.content.key, example.instruction), example)
        if cap is not None and len(inputs) >= cap:
            break
    if not inputs:
        raise ValueError(f"{file} must hold at least one input, got none.")
    return list(inputs.values())[:cap]


def _mined_inputs(value: Mapping[str, Any], where: str) -> Iterator[TraceExample]:
    if value.get("skipped"):
        return
    yield TraceExample(f"{where}: query", "query", side_of(value["query"], f"{where}: query"))
    for item in (item for name in MINED_LISTS for item in value.get(name, ())):
        name = f"{where}: {item['id']!r}"
        yield TraceExample(name, "document", side_of(item, name), sha256=item.get("sha256"))


def _input(value: Mapping[str, Any], where: str, folder: Path) -> TraceExample:
    _check_keys(value, TRACE_KEYS, where)
    side = value.get("side", "document")
    if side not in ("query", "document"):
        raise ValueError(f"{where}: 'side' must be 'query' or 'document', got {side!r}.")
    instruction = value.get("instruction") or ""
    if not isinstance(instruction, str):
        raise ValueError(f"{where}: 'instruction' must be text, got {instruction!r}.")
    content = side_of(_with_absolute_paths(value, folder, where), where)
    return TraceExample(where, side, content, _trace(value, where), instruction, value.get("sha256"))


def _trace(value: Mapping[str, Any], where: str) -> Trace | None:
    trace = value.get("trace")
    if trace is None:
        return None
    if isinstance(trace, str) and trace.strip():
        return read_trace(ChatReply(content=trace, thought="", finish_reason="stop"), 0)
    if isinstance(trace, dict) and isinstance(trace.get("final"), str) and trace["final"].strip():
        return Trace(str(trace.get("thought") or ""), trace["final"])
    raise ValueError(f"{where}: 'trace' must be text or have a 'thought' and a 'final', got {trace!r}.")


# ---- JSON lines --------------------------------------------------------------------------------------


def _json_lines(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the objects of a file, each with file and line for messages."""
    if not path.is_file():
        raise FileNotFoundError(f"a sub-dataset must be an existing file or folder, got {str(path)!r}.")
    for number, value in read_json_lines(path, "training example"):
        yield value, f"{path}, line {number}"


def _check_keys(value: Mapping[str, Any], keys: frozenset[str], where: str) -> None:
    for key in value:
        if key not in keys:
            near = difflib.get_close_matches(key, keys, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(sorted(keys))}."
            raise ValueError(f"{where}: unknown key {key!r}.{hint}")


def _with_absolute_paths(value: Mapping[str, Any], folder: Path, where: str) -> dict[str, Any]:
    """Return an example with absolute paths.

    Raises:
        ValueError: a path or the text is no text, or the page no page number.
    """
    item = dict(value)
    for name in ("image", "path", "text"):
        if item.get(name) is not None and not isinstance(item[name], str):
            raise ValueError(f"{where}: {name!r} must be text, got {item[name]!r}.")
    for name in ("image", "path"):
        if item.get(name) is not None:
            item[name] = str((folder / Path(item[name]).expanduser()).resolve())
    if item.get("path") is not None:
        check_whole(f"{where}: 'page' of a 'path'", item.get("page"), 0)
    return item
