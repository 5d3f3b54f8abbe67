"""Questions by a served model, kept where the model answers them in the same way twice.

The model sees a page's text, writes questions and copies the words that answer each (`QuestionWriter`, which
drops what does not stand on the page). Then it is asked each question again, with the page and without the
answer: a question is kept if the second answer has at least half of the first one's words (the round trip).
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmrag
from mmrag.serving.client import ServerClient
from mmrag.training.pairs.question_writer import QuestionWriter
from public.pages import Document
from public.templates import is_index_page, is_licence

LEAST_WORDS = 120
"""Words of a page that a model is shown."""
SAME = 0.5
"""Share of the words of the first answer that the second must have."""
_SYSTEM = (
    "You answer questions about one page of a manual. Copy the words of the page that answer, nothing else. "
    "If the page does not answer, reply: not on this page."
)


def asked_lines(
    folder: Path, found: Sequence[Document], url: str, count: int, seed: int
) -> list[dict[str, Any]]:
    """Return lines of questions that a served model writes about `count` pages drawn by `seed`."""
    writer = QuestionWriter(url, questions=2, images=False, text_chars=5000, max_tokens=400)
    client = writer.client
    name = client.model_name()
    lines: list[dict[str, Any]] = []
    for document, number in _drawn_pages(found, count, seed):
        page = mmrag.read(folder / "documents" / document.file, pages=[number]).pages[0]
        written = writer.write([(page, page.words)])[0]
        for pair in written.pairs:
            if not answers_again(client, page.text[:5000], pair.text, str(pair.details["quote"])):
                continue
            lines.append(
                {
                    "id": f"{document.file.removesuffix('.pdf')}-asked-{number}-{len(lines)}",
                    "question": f"{document.title}: {pair.text}",
                    "doc": document.file,
                    "answerable": True,
                    "evidence_pages": [number],
                    "answers": [pair.details["quote"]],
                    "answer_format": "Str",
                    "kind": "asked",
                    "source": "made by model",
                    "written_by": f"model {name}",
                }
            )
    return lines


def answers_again(client: ServerClient, page: str, question: str, answer: str) -> bool:
    """Ask a question with its page, and tell whether the reply has the words of the answer.

    Raises:
        ServerError: the server cannot be reached or refuses.
    """
    body = {
        "messages": [
            {"role": "system", "content": _SYSTEM},
            {"role": "user", "content": f"{page}\n\nQuestion: {question}"},
        ],
        "max_tokens": 120,
        "temperature": 0.0,
    }
    reply = client.chat(body)["choices"][0]["message"]["content"]
    return is_same(reply, answer)


def is_same(reply: str, answer: str) -> bool:
    """Return whether a reply has at least half of an answer's words."""
    words, wanted = _words(reply), _words(answer)
    return bool(wanted) and len(wanted & words) >= SAME * len(wanted)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


def _drawn_pages(found: Sequence[Document], count: int, seed: int) -> list[tuple[Document, int]]:
    """Return pages with enough text, drawn by `seed`, as many from each document as from another."""
    rng = random.Random(f"{seed}:asked")
    orders = []
    for document in found:
        numbers = [
            page.number
            for page in document.pages[1:]
            if len(page.text.split()) >= LEAST_WORDS and not is_index_page(page) and not is_licence(page)
        ]
        orders.append((document, rng.sample(numbers, len(numbers))))
    drawn: list[tuple[Document, int]] = []
    while len(drawn) < count and any(numbers for _, numbers in orders):
        drawn += [(document, numbers.pop()) for document, numbers in orders if numbers]
    return drawn[:count]
