"""One document of the pack of letters: its text, and what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Letter:
    """A document.

    Attributes:
        name: of its file, without the ending.
        title: its first line.
        parts: paragraphs, in which what is asked for stands in braces; after ``# `` a heading.
        asked: a question and the phrases in braces that answer it.
        computed: a question, its answer, and the phrases that it is computed from.
        absent: questions that it does not answer.
    """

    name: str
    title: str
    parts: tuple[str, ...]
    asked: tuple[tuple[str, ...], ...]
    computed: tuple[tuple[str, ...], ...]
    absent: tuple[str, ...]
