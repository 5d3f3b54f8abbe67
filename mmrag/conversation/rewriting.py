"""A follow-up question made to stand alone: by a served model, or by the words of the question before.

Decisions taken here:

* *A model rewrites* where one is served. It is given the last `TURNS` turns between markers that nothing in
  them can close, and its reply is held to one line of at most `LONGEST_QUESTION` characters. What it says is
  searched and told (`mmrag.types.Answer.standalone`), so that nobody has to trust it unseen.
* *Without a model words are kept*: a question that leans on what was said (`leans_on_history`) gets the
  content words of the question before it. A year, quarter or number is not kept if the new question has one
  of its own: "and in 2022?" asks of 2022 alone. A note says that words were kept.
* A question that does not lean on anything is searched as it stands: words of another subject cost pages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from mmrag.answer.question import Question
from mmrag.answer.words import STOP, WORD, stem
from mmrag.conversation.history import Message, last_question
from mmrag.errors import ServerAnswerError
from mmrag.serving.actions import Actions, arun, run
from mmrag.serving.client import Json, ServerClient, parse_chat
from mmrag.serving.escaping import cut_text, data_block, data_mark
from mmrag.serving.partial_json import THOUGHT_END, replace_surrogates
from mmrag.serving.prompts import Prompts

TURNS = 4
"""Questions and answers that a model reads."""
LONGEST_MESSAGE = 1_500
"""Characters of each message that a model reads."""
LONGEST_QUESTION = 1_000
"""Characters of a rewritten question."""
MOST_KEPT = 12
"""Words of the question before that are kept."""

KEPT_NOTE = "searched with words of the question before: no model was there to rewrite this one"

PROMPTS = Prompts(package="mmrag.conversation")


@dataclass(frozen=True, slots=True)
class StandaloneQuestion:
    """A question as it is searched.

    Attributes:
        text: the question.
        note: what a reader should know of how it was made; ``""`` for nothing.
    """

    text: str
    note: str = ""


@runtime_checkable
class Rewriter(Protocol):
    """Makes questions stand alone."""

    def rewrite(self, question: str, history: Sequence[Message]) -> StandaloneQuestion:
        """Return the question as it is to be searched, given the messages before it."""
        ...

    async def arewrite(self, question: str, history: Sequence[Message]) -> StandaloneQuestion:
        """Run `rewrite` without blocking the event loop."""
        ...


# ---- without a model ---------------------------------------------------------------------------------

_LEAD = re.compile(
    r"^\W*(?:and|or|but|so|then|what about|how about|what of|und|oder|aber|was ist mit|wie (?:ist|war) es|"
    r"et|ou|mais|qu'en est-il|y|o|pero|e)\b",
    re.IGNORECASE,
)
_POINTER = r"(?:this|that|these|those)"
_OF_DOCUMENTS = r"(?:report|document|paper|page|file|table|chart|figure|form|section|text|deck|log)s?"
_REFERENCE = re.compile(
    r"\b(?:it|itself|they|them|theirs|he|him|she|hers|the (?:same|former|latter|others?)|"
    rf"{_POINTER}(?=\s*[?.!,]|\s*$)|"
    r"(?:of|in|for|by|with|on|about|is|was|were|are|did|does|do|after|before) "
    rf"{_POINTER}(?! {_OF_DOCUMENTS}\b)|"
    r"dessen|deren|dort|davon|dafür|darin|damit|diese[nmrs]?|"
    r"celui|celle|ceux|celles|cela|ça|elles?|ils|eso|esto|ellos|ellas|ella)\b",
    re.IGNORECASE,
)
_POSSESSIVE = re.compile(r"\b(?:its|their|his|her|ihre?[nmrs]?|seine?[nmrs]?|leurs?|sus?)\b", re.IGNORECASE)
_IS = "(?:is|are|was|were)"
_THERE = re.compile(
    rf"(?<!is )(?<!are )(?<!was )(?<!were )\bthere\b(?! {_IS}\b)", re.IGNORECASE
)  # a place, not the "there" of "is there"
_MONTH_NAMES = """
january february march april may june july august september october november december jan feb mar apr jun
jul aug sep sept oct nov dec
"""
_MONTHS = frozenset(_MONTH_NAMES.split())


def leans_on_history(question: str) -> bool:
    """Return whether a question is likely to need what was said before it.

    It does if it begins by going on ("and", "what about"), refers back ("it", "there", "its" without a name
    before), or says nothing of its own but numbers and everyday words ("In 2022?").
    """
    if _LEAD.search(question) or _REFERENCE.search(question) or _THERE.search(question):
        return True
    possessive = _POSSESSIVE.search(question)
    if possessive and not any(
        not name[0].isdigit() for name in Question(question[: possessive.start()]).names
    ):
        return True
    return not any(not term[0].isdigit() and term != "%" for term in Question(question).specific)


def kept_words(question: str, before: str) -> list[str]:
    """Return the words of the question before that a question lacks, in their order, as they were written.

    Numbers go where the new question has one, names of months where it names one.
    """
    words = [match.group() for match in WORD.finditer(question)]
    stems = {stem(word) for word in words}
    has_number = any(word[0].isdigit() for word in words)
    has_month = any(word.casefold() in _MONTHS for word in words)
    words_by_stem: dict[str, str] = {}
    for match in WORD.finditer(before):
        word = match.group()
        is_month = word.casefold() in _MONTHS
        if word.casefold() in STOP or (has_number and word[0].isdigit()) or (has_month and is_month):
            continue
        if stem(word) not in stems:
            words_by_stem.setdefault(stem(word), word)
    return list(words_by_stem.values())[:MOST_KEPT]


class WordKeeper:
    """The rewriter without a model: a question that leans on the one before keeps that one's words."""

    def rewrite(self, question: str, history: Sequence[Message]) -> StandaloneQuestion:
        """Return the question, and behind it the words kept, if it leans on the history."""
        before = last_question(history)
        if not before or not leans_on_history(question):
            return StandaloneQuestion(question)
        words = kept_words(question, before)
        return (
            StandaloneQuestion(f"{question} {' '.join(words)}", KEPT_NOTE)
            if words
            else StandaloneQuestion(question)
        )

    async def arewrite(self, question: str, history: Sequence[Message]) -> StandaloneQuestion:
        """Return what `rewrite` does; it takes no time."""
        return self.rewrite(question, history)


# ---- with a served model -----------------------------------------------------------------------------

_QUESTION = re.compile(r'"question"\s*:\s*("(?:[^"\\]|\\.)*")', re.DOTALL)
_FORMAT = {
    "type": "json_schema",
    "json_schema": {
        "name": "standalone",
        "schema": {
            "type": "object",
            "properties": {"question": {"type": "string"}},
            "required": ["question"],
            "additionalProperties": False,
        },
    },
}


class ServedRewriter:
    """Rewrites follow-up questions by a model behind an OpenAI-compatible URL.

    Args:
        server: its URL, or a client.
        model: its name there; None if the server has just one.
        api_key: see `mmrag.serving.client.ServerClient`.
        max_tokens: most tokens of a reply, thought included.
        timeout: seconds a rewriting may take in all.
        structured: ``"json_schema"`` makes the server hold the model to the reply's shape, ``"none"`` only
            asks the model.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        server: str | ServerClient,
        model: str | None = None,
        *,
        api_key: str | None = None,
        max_tokens: int = 512,
        timeout: float = 60.0,
        structured: str = "json_schema",
    ) -> None:
        if structured not in ("json_schema", "none"):
            raise ValueError(f"structured must be 'json_schema' or 'none', got {structured!r}.")
        if isinstance(server, str):
            server = ServerClient(server, model=model, api_key=api_key, timeout=timeout)
        self.client = server
        self.max_tokens = max_tokens
        self.structured = structured

    def rewrite(self, question: str, history: Sequence[Message]) -> StandaloneQuestion:
        """Return the question as the model rewrites it; as it stands if nothing was said before.

        Raises:
            ServerError: the server fails, or its reply has no question.
        """
        return run(self._rewrite(question, history))

    async def arewrite(self, question: str, history: Sequence[Message]) -> StandaloneQuestion:
        """Run `rewrite` without blocking the event loop."""
        return await arun(self._rewrite(question, history))

    def _rewrite(self, question: str, history: Sequence[Message]) -> Actions[StandaloneQuestion]:
        if not last_question(history):
            return StandaloneQuestion(question)
        body: Json = {
            "messages": rewriting_messages(question, history),
            "max_tokens": self.max_tokens,
            "temperature": 0.0,
        }
        if self.structured == "json_schema":
            body["response_format"] = _FORMAT
        reply = parse_chat((yield from self.client.complete(body)))
        return StandaloneQuestion(read_question(reply.content))


def rewriting_messages(question: str, history: Sequence[Message]) -> list[Json]:
    """Return the system's and the user's message; all that people, models and pages said is data."""
    turns = [message for message in history if message["role"] != "system"][-2 * TURNS :]
    texts = [cut_text(message["content"], LONGEST_MESSAGE) for message in turns]
    mark = data_mark(question, *texts)
    blocks = [
        data_block("question" if message["role"] == "user" else "answer", mark, text)
        for message, text in zip(turns, texts, strict=True)
    ]
    block = data_block("last-question", mark, cut_text(question, LONGEST_MESSAGE))
    content = "\n\n".join([*blocks, f"Rewrite this question:\n{block}"])
    return [{"role": "system", "content": PROMPTS.text("standalone")}, {"role": "user", "content": content}]


def read_question(content: str) -> str:
    """Return the question that a model wrote, on one line.

    Raises:
        ServerAnswerError: there is none, or it is longer than `LONGEST_QUESTION`.
    """
    is_cut_thought = content.lstrip().startswith("<think>") and THOUGHT_END not in content
    match = None if is_cut_thought else _QUESTION.search(content.rpartition(THOUGHT_END)[2])
    try:
        text = json.loads(match[1], strict=False) if match else ""
    except json.JSONDecodeError:
        text = ""
    text = " ".join(replace_surrogates(text).split())
    if not text or len(text) > LONGEST_QUESTION:
        raise ServerAnswerError(
            'a rewritten question must be {"question": str} of at most '
            f"{LONGEST_QUESTION} characters, got {content[:80]!r}.",
            content,
        )
    return text
