"""Words of English as they are compared: stems, and what says little; and where sentences end.

No dictionary and no model: a small suffix stripper, and short lists of everyday words that were written
down from general knowledge of the language. What is not English is compared as it is written.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from mmrag.blocks import is_footnote_mark

_STOP = """
a an the of in on at to for from by with and or but as is are was were be been being do does did
done has have had having it its this that these those there here he she they them his her their we
our us you your i me my what which who whom whose when where why how much many if then than so such
not no nor can could will would shall should may might must about into over under between among
during per each any all some more most other also only just very s t please tell give show according
based within without via both either respectively versus vs compare compared comparison than while
whereas up down out off one two after before once again still yet even
"""
_IRREGULAR = """
grew:grow grown:grow fell:fall fallen:fall rose:rise risen:rise sold:sell paid:pay made:make
bought:buy spent:spend began:begin begun:begin wrote:write written:write gave:give given:give
took:take taken:take found:find held:hold won:win lost:lose led:lead met:meet ran:run went:go
goes:go gone:go built:build chose:choose chosen:choose people:person children:child men:man
women:woman said:say kept:keep left:leave sent:send told:tell thought:think brought:bring got:get
shown:show born:birth higher:high lower:low larger:large
"""
_SHORT_DATES = """
jan:january feb:february mar:march apr:april jun:june jul:july aug:august sep:september sept:september
oct:october nov:november dec:december tue:tuesday tues:tuesday thu:thursday thur:thursday thurs:thursday
fri:friday
"""
STOP = frozenset(_STOP.split())
"""Words that carry no meaning by themselves; ``one`` and ``two`` are among them."""
WORD = re.compile(r"%|\b[A-Z]&[A-Z]\b|[^\W_]+(?:[.,]\d+)*(?:['\u2019]s\b)?")
_BASE_FORMS = dict(pair.split(":") for pair in (_IRREGULAR + _SHORT_DATES).split())


def _strip(word: str) -> str:
    """Cut the common endings of English off a lower-case word."""
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith("sses"):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    if word.endswith("ation") and len(word) > 7:
        return word[:-3]
    for ending in ("ingly", "edly", "ing", "ed", "ly"):
        base = word[: -len(ending)]
        if word.endswith(ending) and len(base) >= 3 and re.search("[aeiouy]", base):
            word = base
            if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
            break
    if word.endswith("e") and len(word) > 3:
        word = word[:-1]
    return word[:-1] + "i" if word.endswith("y") and len(word) > 3 else word


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """Return the form under which a word is compared: lower case, no accents, common English endings cut.

    Tables shorten months and days where people write them out, so both are the same word.
    """
    word = unicodedata.normalize("NFKD", word).casefold()
    word = "".join(c for c in word if not unicodedata.combining(c))
    word = re.sub(r"['\u2019]s?$", "", word)
    if any(c.isdigit() for c in word):
        return word.replace(",", "") if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", word) else word
    word = _BASE_FORMS.get(word, word)
    return word if len(word) <= 3 else _strip(word)


def content_stems(text: str) -> list[str]:
    """Return the stems of the words that carry meaning, in their order, repeats kept."""
    stems = []
    for match in WORD.finditer(text.replace("\u00ad", "")):
        word = match.group()
        if is_footnote_mark(word):
            continue
        if word.lower() in STOP and not (word.isupper() and len(word) > 1):
            continue
        stems.append("%" if word == "%" else stem(word))
    return stems


# Abbreviations do not end a sentence; those of the second list are followed by numbers ("No. 5").
_ABBREVIATIONS_TEXT = """
mr mrs ms dr prof sr jr st vs e.g i.e cf al approx dept est jan feb mar apr jun jul aug sep sept oct nov dec
gen gov sen rep col lt capt rev hon mt ed eds z.b d.h u.a bzw ca
"""
_ABBREVIATIONS = frozenset(_ABBREVIATIONS_TEXT.split())
_BEFORE_NUMBERS_TEXT = "no nos p pp fig figs vol eq eqs sec ch ref refs tab nr art"
_BEFORE_NUMBERS = frozenset(_BEFORE_NUMBERS_TEXT.split())
SENTENCE_ENDS = ".!?\u2026\u3002\uff01\uff1f"
CLOSERS = "\"'\u201d\u2019)]\u00bb*\u2020\u2021"
_OPENERS = "\"'\u201c\u2018(["


def sentence_spans(words: Sequence[str]) -> list[range]:
    """Return the positions of each sentence's words, in order; every word is in one sentence.

    A sentence ends with ``. ! ? …`` (or their full-width kin) before a word that does not begin with a
    small letter; an abbreviation, an initial, and a number at the sentence's beginning do not end it.

    Args:
        words: of one paragraph, as ``text.split()`` gives them.
    """
    spans: list[range] = []
    start = 0
    for at in range(len(words)):
        if at == len(words) - 1 or _ends(words[at], words[at + 1], is_first=at == start):
            spans.append(range(start, at + 1))
            start = at + 1
    return spans


def _ends(word: str, next_word: str, *, is_first: bool) -> bool:
    """Decide whether a sentence ends with a word, given the next."""
    bare = word.rstrip(CLOSERS)
    if bare[-1:] not in set(SENTENCE_ENDS) or next_word.lstrip(_OPENERS)[:1].islower():
        return False
    stem_ = bare[:-1].lower().lstrip(_OPENERS)
    if bare[-1] != "." or not stem_:
        return True
    if stem_ in _BEFORE_NUMBERS:
        return not next_word[:1].isdigit()
    is_initial = re.fullmatch(r"(?:[A-Z]\.)*[A-Z]", bare[:-1].lstrip(_OPENERS)) is not None
    is_list_number = is_first and len(stem_) <= 3 and stem_.isalnum()
    return stem_ not in _ABBREVIATIONS and not is_initial and not is_list_number
