"""The language of a page, by its letters and function words: metadata that filters can use.

Two letters of ISO 639-1, or nothing: a wrong language would hide a page from whoever filters by the right
one, so what is not plain is left open. Decisions:

* Scripts of one language say it at once. Cyrillic, Arabic and Devanagari are told apart by the letters that
  one language alone writes; Japanese by its kana.
* Latin letters need words: those of the function words of 27 languages that the best language has must be a
  tenth of the page's words, at least three, and against every other language those that only one of the two
  has must be for it, two to one. Tables and lists of names have no language.
* At most the first 4,000 letters are looked at.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from importlib import resources

from mmrag.index.languages import function_words

MOST_LETTERS = 4_000
LEAST_WORDS = 3
LEAST_SHARE = 0.1
"""Of a page's words, those that are function words of its language."""

_CODES = {
    "english": "en",
    "german": "de",
    "french": "fr",
    "spanish": "es",
    "portuguese": "pt",
    "italian": "it",
    "dutch": "nl",
    "swedish": "sv",
    "danish": "da",
    "norwegian": "no",
    "finnish": "fi",
    "polish": "pl",
    "turkish": "tr",
    "hungarian": "hu",
    "romanian": "ro",
}
"""The names of Snowball in ISO 639-1."""

_SCRIPTS = (
    ("el", "[\u0370-\u03ff\u1f00-\u1fff]"),
    ("cyrillic", "[\u0400-\u04ff]"),
    ("hy", "[\u0530-\u058f]"),
    ("he", "[\u05d0-\u05ea]"),
    ("arabic", "[\u0620-\u064a\u0671-\u06d3]"),
    ("devanagari", "[\u0904-\u0939\u0958-\u0961]"),
    ("bn", "[\u0985-\u09b9]"),
    ("ta", "[\u0b80-\u0bff]"),
    ("te", "[\u0c05-\u0c39]"),
    ("th", "[\u0e01-\u0e2e]"),
    ("ka", "[\u10d0-\u10ff]"),
    ("ja", "[\u3041-\u30fa]"),
    ("ko", "[\uac00-\ud7a3]"),
    ("han", "[\u3400-\u9fff]"),
)
_SCRIPT_LETTERS = tuple((name, re.compile(letters)) for name, letters in _SCRIPTS)

_MARKS = {
    "cyrillic": (
        ("be", "[\u045e]"),
        ("uk", "[\u0456\u0457\u0454\u0491]"),
        (None, "[\u0453\u045c\u0455\u04d9\u0493\u049b\u04a3\u04e9\u04b1\u04af]"),
        ("sr", "[\u0452\u0458\u0459\u045a\u045b\u045f]"),
        ("ru", "[\u044b\u044d]"),
        ("bg", r"[\u0430\u044f\u044a]\u0442\b"),
    ),
    "arabic": (
        ("ur", "[\u0679\u0688\u0691\u06d2\u06ba]"),
        (None, "[\u0695\u06b5\u06c6\u06ce\u067c\u0681\u0685\u0693]"),
        ("fa", "[\u067e\u0686\u0698\u06af\u06a9\u06cc]"),
        ("ar", "[\u0629\u0649\u064a]"),
    ),
    "devanagari": (
        ("mr", r"(?<!\S)(?:\u0906\u0939\u0947|\u0906\u0923\u093f|\u0906\u0939\u0947\u0924)(?!\S)|\u0933"),
        (
            "hi",
            r"(?<!\S)(?:\u0939\u0948|\u0939\u0948\u0902|\u092e\u0947\u0902|\u0914\u0930|\u0928\u0947)(?!\S)",
        ),
    ),
}
"""What one language of a script writes and those after it do not; the first with two marks is taken."""

_WORD = re.compile(r"[^\W\d_]+")


def page_language(text: str) -> str | None:
    """Return the language of a page in ISO 639-1, like ``"de"``; None where it is not plain.

    Args:
        text: its words, in their order.
    """
    text = text[:MOST_LETTERS]
    letters = 0 if text.isascii() else sum(char.isalpha() for char in text)
    shares = _script_shares(text) if letters else []
    script = next((name for name, share in shares if 2 * share > letters), None)
    if script is None:
        return _language_of_words(text.casefold())
    if script == "han":
        return "zh"
    if script not in _MARKS:
        return script
    lower = text.casefold()
    return next((code for code, marks in _marks(script) if len(marks.findall(lower)) > 1), None)


def _script_shares(text: str) -> list[tuple[str, int]]:
    """Return the scripts of a text, each with its letters; with a tenth of kana, Han letters are Japanese."""
    counts = {name: len(letters.findall(text)) for name, letters in _SCRIPT_LETTERS}
    if 10 * counts["ja"] > counts["han"]:
        counts = {**counts, "ja": counts["ja"] + counts["han"], "han": 0}
    return list(counts.items())


@cache
def _marks(script: str) -> tuple[tuple[str | None, re.Pattern[str]], ...]:
    return tuple((code, re.compile(marks)) for code, marks in _MARKS[script])


def _language_of_words(text: str) -> str | None:
    """Return the language whose function words a text in Latin letters has."""
    words = Counter(_WORD.findall(text))
    shared = {code: list_ & words.keys() for code, list_ in _word_lists().items()}
    counts = {code: sum(words[word] for word in hits) for code, hits in shared.items()}
    best = max(counts, key=lambda code: counts[code])
    if counts[best] < max(LEAST_WORDS, LEAST_SHARE * words.total()):
        return None
    for code, hits in shared.items():
        support = sum(words[word] for word in shared[best] - hits)
        doubt = sum(words[word] for word in hits - shared[best])
        if code != best and support < 2 * doubt + 1:
            return None
    return best


@cache
def _word_lists() -> dict[str, frozenset[str]]:
    """Return the function words by language: those of questions, and of further languages of pages."""
    lists = {_CODES[language]: words for language, words in function_words().items()}
    text = resources.files("mmrag.ingest").joinpath("function_words.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        code, _, words = line.partition(": ")
        if not line.startswith("#"):
            lists[code] = frozenset(words.split()) - lists["en"]
    return lists
