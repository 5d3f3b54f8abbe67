"""Texts of 30 and 100 kB that are hard on parsers, and what reads such texts; run as a program by a test.

``python hostile_texts.py NAME`` reads every text with one reader, under a limit of processor time that work
in proportion to the length is far below, and work that grows with its square far above.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from contextlib import suppress

from mmrag.answer.passages import plain_lines, windows
from mmrag.answer.question import Question
from mmrag.answer.quotes import find_quote
from mmrag.answer.served.reply import ReplyError, read_reply
from mmrag.answer.tables import _name_stems
from mmrag.answer.words import content_stems
from mmrag.blocks import is_footnote_mark
from mmrag.cli.snippets import snippet
from mmrag.errors import ServerError
from mmrag.index.lexical import lexical_terms
from mmrag.rerank.response import read_boxes, read_order, read_thought
from mmrag.serving.escaping import as_data
from mmrag.serving.marks import MarkStream, PrintedMarks, marks
from mmrag.serving.partial_json import StringField, ThoughtFilter
from mmrag.serving.wire import EventReader, error_text, parse_object, retry_after

LENGTH = 30_000  # characters of a piece over and over
RUN = 100_000  # characters of white space
SECONDS = 15  # of processor time for all texts together

UNITS = (
    '[ ] ( ) { } [] () {} < <| <|im_start|> <think> </think> " \' ` \\ \\" ``` ```json * , ; : . ... - _ '
    "= / % $ @ "
    "a A ab aA aé 1 12 1, 1. 1/ a- a1 A. A& 's a' 漢 あ ก 가 😀 ﷺ ﬃ ² a² "
    "\u0301 a\u0301 \u00ad \u200b \u2013 \u0627 "
    '[1] [1, [12] {"a": "answer": <title> "bbox": ://'
)
SPACES = ["\n", " ", "\t", "\r\n", "\u00a0"]
WORDS = [
    "a ",
    "A ",
    "Ab ",
    "1 ",
    "may ",
    "how much ",
    "greater ",
    "fastest ",
    "which a ",
    "It is so. ",
    "[1] > ",
]
ENDS = ["", "x 1A,é!", ']}"\n```']


def texts() -> list[str]:
    """Return the texts: one piece over and over, with and without something before and behind."""
    made = []
    for number, unit in enumerate([*UNITS.split(" "), *SPACES, *WORDS]):
        made.append(unit * (LENGTH // len(unit)) + ENDS[number % len(ENDS)])
    starts = ["a-", "[1", "```", "1", "may", "how much ", '{"answer": "', "<title", "a\u00ad"]
    made += [
        start + space * RUN + end for start, space, end in zip(starts, SPACES * 2, ENDS * 3, strict=False)
    ]
    return made


def chat(content: str) -> dict[str, object]:
    """Return a reply of a server with this content."""
    return {"choices": [{"message": {"content": content}, "finish_reason": "length"}]}


def read_question(text: str) -> None:
    """Analyse a question."""
    question = Question(text)
    for name in ("stems", "specific", "kind", "computes", "extremes", "names", "read_text"):
        getattr(question, name)


def read_kinds(text: str) -> None:
    """Look for every kind of thing that a question may ask for."""
    for question in ("When?", "How much is it?", "How many?", "Who?", "Where?"):
        Question(question).kind_share(text)


def stream_marks(text: str) -> None:
    """Rewrite the marks of a text that comes in pieces, beside a page that prints them."""
    stream = MarkStream(lambda mark: mark.text, PrintedMarks([text[:20_000]]))
    for at in range(0, len(text), 100):
        stream.feed(text[at : at + 100])
    stream.finish()


def stream_answer(text: str) -> None:
    """Take the answer out of a reply that comes in pieces."""
    thought, field = ThoughtFilter(), StringField("answer")
    for at in range(0, len(text), 100):
        field.feed(thought.feed(text[at : at + 100]))


def quote_half(text: str) -> None:
    """Look for half of a page on it."""
    find_quote(text[: len(text) // 2], text.split())


def quote_words(text: str) -> None:
    """Look for words that the page has not."""
    find_quote("no such words here 1", text.split())


def read_events(text: str) -> None:
    """Read server-sent events in small pieces, and in one."""
    data = b"data: " + text.encode() + b"\n\n"
    for size in (16, len(data)):
        reader = EventReader("http://h")
        with suppress(ServerError):
            for at in range(0, len(data), size):
                reader.feed(data[at : at + size])


def read_rankings(text: str) -> None:
    """Read what a reranker's model writes."""
    read_thought(chat(text))
    read_boxes(text)
    with suppress(ServerError):
        read_order(chat(text), 9)


def read_replies(text: str) -> None:
    """Read an answer in JSON, and JSON of any form."""
    with suppress(ReplyError):
        read_reply(text)
    with suppress(ServerError):
        parse_object(text.encode(), "http://h")
    error_text(text)
    retry_after(text)


READERS: dict[str, Callable[[str], object]] = {
    "question": read_question,
    "kinds": read_kinds,
    "stems": lambda text: (content_stems(text), _name_stems(text), is_footnote_mark(text)),
    "lexical": lexical_terms,
    "passages": lambda text: list(windows(plain_lines(text, ()), 0)),
    "marks": lambda text: list(marks(text, PrintedMarks([text]))),
    "stream of marks": stream_marks,
    "stream of an answer": stream_answer,
    "half a page": quote_half,
    "words not there": quote_words,
    "events": read_events,
    "rankings": read_rankings,
    "replies": read_replies,
    "escaping": as_data,
    "snippets": lambda text: snippet(text, "a 1 which how much Ab"),
}


def main(name: str) -> None:
    """Read every text with one reader."""
    made = texts()
    used = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + SECONDS, int(used) + SECONDS + 2))
    for text in made:
        READERS[name](text)


if __name__ == "__main__":
    main(sys.argv[1])
