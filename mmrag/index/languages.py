"""Inflected forms of other languages than English, found at the time of the question.

FTS5 stems English and knows no other language: "Häuser" and "Haus", "книги" and "книга" are strangers. Here
the words of a question in another language are compared by their stems with the words that the index has,
and those of the same stem are searched as well. Decisions:

* *Nothing is stored*: terms are those of every index, whoever made it. A stemmer of another version, or none,
  changes what a question finds and no index.
* *The question says its language*: by its script, or by its function words, at least two of them and more
  than it has of English. An English question is searched exactly as without this file.
* *Stems are Snowball's* (extra ``languages``; pure Python, or C where PyStemmer is installed). Without it
  words meet as they are written.
* Scripts without spaces need none of it: `mmrag.index.lexical` compares pairs of their letters.
"""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from importlib import resources
from typing import Any

_SCRIPTS = {
    "greek": re.compile("[\u0370-\u03ff\u1f00-\u1fff]"),
    "russian": re.compile("[\u0400-\u04ff]"),
    "armenian": re.compile("[\u0530-\u058f]"),
    "arabic": re.compile("[\u0620-\u064a\u0671-\u06d3]"),
    "hindi": re.compile("[\u0904-\u0939\u0958-\u0961]"),
    "tamil": re.compile("[\u0b80-\u0bff]"),
}
"""Letters of scripts, and the language of Snowball that is taken for them."""
_PERSIAN = re.compile("[\u067e\u0686\u0698\u06af\u06a9\u06cc]")
"""Letters of Persian that Arabic does not write."""

_WORD = re.compile(r"[^\W\d_]+")

LEAST_LETTERS = 4
"""Of a word in Latin letters that is compared by its stem; shorter ones stem to too little."""
LEAST_PREFIX = 3
MOST_CANDIDATES = 600
"""Words of the index that are stemmed for one word of a question."""
MOST_FORMS = 12
"""Forms of one word that are searched, the most frequent ones."""

_ARTICLES = ("\u0627\u0644", "\u0648\u0627\u0644", "\u0628\u0627\u0644", "\u0644\u0644", "\u0648", "\u0628")
"""What Arabic writes before a word, as one with it."""

_VOCABULARY = "CREATE VIRTUAL TABLE IF NOT EXISTS temp.vocabulary USING fts5vocab(main, lexical, row)"
_CANDIDATES = "SELECT term, doc FROM temp.vocabulary WHERE term >= ? AND term < ? LIMIT ?"


def question_language(text: str) -> str | None:
    """Return the language of a question as Snowball names it; None for English, and where it is not plain.

    Args:
        text: a question, or more.
    """
    count = 0 if text.isascii() else sum(char.isalpha() for char in text)
    for language, letters in _SCRIPTS.items() if count else ():
        if 2 * len(letters.findall(text)) > count:
            return "persian" if language == "arabic" and _PERSIAN.search(text) else language
    words = [word.casefold() for word in _WORD.findall(unicodedata.normalize("NFC", text))]
    counts = {language: sum(word in list_ for word in words) for language, list_ in function_words().items()}
    english = counts.pop("english")
    best, count = max(counts.items(), key=lambda item: item[1])
    is_plain = count >= 2 and count > english and list(counts.values()).count(count) == 1
    return best if is_plain else None


@cache
def function_words() -> dict[str, frozenset[str]]:
    """Return the function words of each language; those that English has, too, count for English alone."""
    text = resources.files("mmrag.index").joinpath("function_words.txt").read_text(encoding="utf-8")
    rows = (line.partition(": ") for line in text.splitlines() if not line.startswith("#"))
    words = {language: frozenset(list_.split()) for language, _, list_ in rows}
    english = words["english"]
    return {language: list_ - english for language, list_ in words.items()} | {"english": english}


def inflected_terms(connection: sqlite3.Connection, text: str, terms: Sequence[str]) -> list[str]:
    """Return words of the index that are other forms of a question's terms; none for an English question.

    Args:
        connection: of a file with the table ``lexical``.
        text: the question.
        terms: of `mmrag.index.lexical.query_terms`.
    """
    language = question_language(text)
    if language is None or _stemmer(language) is None:
        return []
    connection.execute(_VOCABULARY)
    forms: dict[str, None] = {}
    for term in terms:
        if _is_stemmed(term, language):
            forms.update(dict.fromkeys(_forms(connection, term, language)))
    return [term for term in forms if term not in terms]


def _is_stemmed(term: str, language: str) -> bool:
    """Return whether a term is a word that has other forms."""
    words = function_words().get(language)
    return (
        not any(char.isdigit() or char in ".*" for char in term)
        and len(term) >= (LEAST_PREFIX if words is None else LEAST_LETTERS)
        and term not in (words or ())
    )


def _forms(connection: sqlite3.Connection, term: str, language: str) -> list[str]:
    """Return the words of the index with the stem of a term, the most frequent first."""
    key = _key(language, term)
    counts: dict[str, int] = {}
    for prefix in _prefixes(key, term, language):
        rows = connection.execute(_CANDIDATES, (prefix, prefix + "\U0010ffff", MOST_CANDIDATES))
        counts.update({str(word): int(count) for word, count in rows if _key(language, str(word)) == key})
    return sorted(counts, key=lambda word: (-counts[word], word))[:MOST_FORMS]


def _prefixes(key: str, term: str, language: str) -> Iterator[str]:
    """Yield what forms of a term begin with: its stem but for the last letter, which often changes.

    Greek accents stand in the index: the beginning of the term as it is written is another one.
    """
    length = max(LEAST_PREFIX, len(key) - 1)
    prefixes = {key[:length], term[:length]} if language == "greek" else {key[:length]}
    yield from sorted(prefixes)
    if language == "arabic":
        yield from (article + key[:length] for article in _ARTICLES)


@lru_cache(maxsize=100_000)
def _key(language: str, word: str) -> str:
    """Return the stem of a word as FTS5 may have left it: without accents, and without a last ``s``.

    FTS5 has cut English endings off every word, "haus" to "hau"; what is left of both sides is compared. In
    Russian an accent makes another letter.
    """
    stemmer = _stemmer(language)
    if language != "russian":
        word = _without_accents(word)
    stem = word if stemmer is None else str(stemmer.stemWord(word))
    return stem.removesuffix("s")


def _without_accents(word: str) -> str:
    """Return a word without accents, as FTS5 writes Latin ones."""
    letters = unicodedata.normalize("NFD", word)
    if not any("\u0300" <= char <= "\u036f" for char in letters):
        return word
    return unicodedata.normalize("NFC", "".join(char for char in letters if not "\u0300" <= char <= "\u036f"))


@cache
def _stemmer(language: str) -> Any:  # noqa: ANN401  Snowball's, which has no types
    """Return Snowball's stemmer; None without the extra, or if this version does not know the language."""
    try:
        import snowballstemmer
    except ImportError:
        return None
    try:
        return snowballstemmer.stemmer(language)
    except KeyError:
        return None
