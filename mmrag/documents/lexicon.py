"""Words that are known: the vocabulary of the encoder in the wheel, to tell words from rubbish.

The 21,000 whole words of BERT's uncased vocabulary: most common English words, many names, the commonest
words of other languages in Latin letters. A word that is not in it is not wrong; a page of which hardly
any word is in it is either in another language or no text. What follows is the caller's to find out.
"""

from __future__ import annotations

import functools
import json
import re
import unicodedata

from mmrag.files import weights_folder

MODEL = "mmrag-mini"
_WORD = re.compile(r"[^\W\d_]+")


@functools.cache
def known_words() -> frozenset[str]:
    """Load the words of two letters and more, lower case, without accents; 10 ms at the first call."""
    tokenizer = json.loads((weights_folder(MODEL) / "tokenizer.json").read_text(encoding="utf-8"))
    return frozenset(word for word in tokenizer["model"]["vocab"] if len(word) > 1 and word.isalpha())


def is_known(word: str) -> bool:
    """Check whether a word of letters is in the vocabulary, whatever its case and accents."""
    return plain_letters(word) in known_words()


def known_fraction(text: str) -> tuple[float, int]:
    """Return the fraction of a text's words that are known, and the number of words.

    Words are runs of two letters and more; numbers and single letters are not counted.
    """
    words = [word for word in _WORD.findall(text) if len(word) > 1]
    known_count = sum(map(is_known, words))
    return (known_count / len(words) if words else 0.0), len(words)


def plain_letters(word: str) -> str:
    """Write a word in lower case without accents, as the vocabulary does."""
    letters = unicodedata.normalize("NFKD", word.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))
