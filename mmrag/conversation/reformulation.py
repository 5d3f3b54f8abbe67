"""Further queries for a question whose evidence is weak: a served model rewrites it, or splits it.

The model is given the question and what was found, between markers that nothing in them can close, and
replies with one query a line. Lines are cleaned of bullets, numbers and quotation marks; the question itself
and what is said twice go. What is left is searched and told, so that nobody has to trust it unseen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mmrag.conversation.rewriting import LONGEST_MESSAGE, PROMPTS
from mmrag.errors import ServerAnswerError
from mmrag.serving.client import Json, parse_chat
from mmrag.serving.escaping import cut_text, data_block, data_mark
from mmrag.serving.partial_json import THOUGHT_END, replace_surrogates
from mmrag.serving.requests import Request, Requests

PROMPT = "further_queries"
LONGEST_QUERY = 300
"""Characters of a query; longer lines are no query."""
MOST_TOKENS = 768
"""Of a reply, thought included."""

_LEAD = re.compile(r"^(?:[-*\u2022]|\(?\d{1,2}[.)]|query\s*\d*\s*:)\s*", re.IGNORECASE)
_QUOTES = "\"'\u201c\u201d\u2018\u2019`"


def query_requests(question: str, passages: Sequence[str], most: int) -> Requests[list[str]]:
    """Request at most `most` further queries for a question.

    Args:
        question: in words.
        passages: what was found for it.
        most: queries returned at most.
    """
    body: Json = {
        "messages": query_messages(question, passages, most),
        "max_tokens": MOST_TOKENS,
        "temperature": 0.0,
    }
    reply = yield Request("chat/completions", body)
    return read_queries(parse_chat(reply).content, question, most)


def query_messages(question: str, passages: Sequence[str], most: int) -> list[Json]:
    """Return the system's and the user's message; question and passages are data."""
    question = cut_text(question, LONGEST_MESSAGE)
    mark = data_mark(question, *passages)
    blocks = [data_block("passage", mark, passage) for passage in passages]
    content = "\n\n".join([*blocks, f"Queries for this question:\n{data_block('question', mark, question)}"])
    system = PROMPTS.fill(PROMPT, count=str(most))
    return [{"role": "system", "content": system}, {"role": "user", "content": content}]


def read_queries(content: str, question: str, most: int) -> list[str]:
    """Return the queries that a model wrote, at most `most`; none if it only repeats the question.

    Raises:
        ServerAnswerError: the reply ends inside its thought.
    """
    if content.lstrip().startswith("<think>") and THOUGHT_END not in content:
        raise ServerAnswerError(
            f"further queries must be written within {MOST_TOKENS} tokens, got {content[:80]!r}. "
            "Serve a model that thinks less.",
            content,
        )
    queries: dict[str, str] = {}
    for line in replace_surrogates(content.rpartition(THOUGHT_END)[2]).splitlines():
        query = _LEAD.sub("", " ".join(line.split())).strip(_QUOTES).strip()
        if any(char.isalnum() for char in query) and len(query) <= LONGEST_QUERY:
            queries.setdefault(query.casefold(), query)
    queries.pop(" ".join(question.split()).casefold(), None)
    return list(queries.values())[:most]
