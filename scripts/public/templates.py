"""Questions by templates: of sections, definitions, options, defaults, captions and rare words.

Each is about one page, which it is true of alone: a question whose key (a title, a term, an option) other
pages have in the same place is dropped. All have words of their page in them, which flatters every search by
words.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from public.pages import Box, Document, TextPage

MOST_WORDS = 22
_WORD = re.compile(r"[A-Za-z][A-Za-z-]{3,}")
_DEFINITION = re.compile(
    r"^(?:The |An? )?(?P<term>[A-Za-z][\w+./-]*(?: [a-z][\w-]+){0,2}) (?:is|are) "
    r"(?P<said>(?:an?|the) \w.{20,220})$"
)
_PLAIN = frozenset(
    """
    about above after again also although another around because been before being below better between
    both could different does done during each either else even every finally first following from full
    have having here however instead into just know large last left like long made make makes making
    many more most much need needed needs next note obtained often once only other otherwise over
    possible provide provided rather related required same several should show shows since small some
    such take takes than that their them then there these they this those through together under unless
    until used useful using usually very want well were what when where whether which while will with
    within without would your available complete contain contains example simple main basic current part
    parts given general mostly almost towards
    """.split()  # noqa: SIM905
)
_NO_TERM = frozenset(
    """
    this that it there which what these those here they he she we you one default following first second
    third last next other another example result option value file below above only main purpose reason
    idea problem name number argument any simplest usable syntax field static output input difference
    goal aim note if when where each such all some most
    """.split()  # noqa: SIM905
)
_VAGUE = re.compile(r"\b(?:following|same|below|above|described|wrong|correct)\b")
_OPTION = re.compile(r"^(?P<option>--?[A-Za-z][\w-]{2,}|-[A-Za-z]\b)(?P<rest>.*)$")
_SAID = re.compile(r"^[=\s]*(?:<[^>]+>|\[[^\]]+\]|[A-Z_]{2,}|[a-z]+(?= [A-Z]))?[\s:\u2013-]*")
_DEFAULT_LINE = re.compile(r"^[\W]*(?:the )?defaults?(?: value)?(?: is|:| =)\s*(?P<value>\S.*)$", re.I)
_DEFAULT_IN = re.compile(
    r"(?P<name>\b[A-Za-z]+(?:_[A-Za-z]+|[a-z][A-Z][a-z]+)+)\b[^.]{0,80}?\bdefault(?: value)?(?: is|:|=)\s*"
    r"(?P<value>[\"'\w.+-]+)"
)
_VALUE = re.compile(
    r"^(?:[-+]?\d[\d.e+-]*%?|[\"'].+[\"']|[A-Z_]{2,}|yes|no|on|off|true|false|none|[A-Z][a-z]+)$"
)
_NAME_LINE = re.compile(r"^-{0,2}(?P<name>[A-Za-z][\w-]{4,})(?:\s*[=<(].*)?$")
_CAPTION = re.compile(r"^(?P<kind>Figure|Fig\.|Table) [\dA-Z.]+[:.]?\s+(?P<text>[A-Z].{15,160})$")
_NUMBERED = re.compile(r"^(?:(?:Chapter|Appendix|Section)\s+)?(?:[A-Z]|\d+)?(?:\.\d+)*[.:)]*\s+")


@dataclass(frozen=True, slots=True)
class Draft:
    """A question before it is chosen: its kind, its page, and what must be unique to that page."""

    kind: str
    question: str
    page: int
    key: str
    answers: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)


def drafts(document: Document, rng: random.Random) -> list[Draft]:
    """Return every question that a template makes of a document; keys that several pages have are dropped."""
    found = [draft for kind in KINDS.values() for draft in kind(document, rng)]
    pages: dict[tuple[str, str], set[int]] = {}
    for draft in found:
        pages.setdefault((draft.kind, draft.key), set()).add(draft.page)
    seen: Counter[tuple[str, str]] = Counter()
    kept = []
    for draft in found:
        place = (draft.kind, draft.key)
        seen[place] += 1
        if len(pages[place]) == 1 and seen[place] == 1 and len(draft.question.split()) <= MOST_WORDS + 12:
            kept.append(draft)
    return kept


def is_index_page(page: TextPage) -> bool:
    """Decide whether a page is a table of contents or an index: most lines end in a number, or have dots."""
    lines = [line for block in page.blocks for line in block.lines]
    ends = sum(bool(re.search(r"(\. ?){4,}|\s\d{1,3}$|, \d{1,3}$", line)) for line in lines)
    return len(lines) > 8 and ends > 0.35 * len(lines)


def is_licence(page: TextPage) -> bool:
    """Decide whether a page is of a licence's text, which many documents have word for word."""
    return len(re.findall(r"licen[cs]e|warranty|copyright", page.text, re.I)) >= 6


def _sections(document: Document, rng: random.Random) -> Iterator[Draft]:
    for title, number in document.outline:
        name = title
        if re.match(r"^(?:\d|[A-Z]\.|Chapter|Appendix|Section)", title):
            name = _NUMBERED.sub("", title)
        name = name.rstrip("?!.: ")
        words = _WORD.findall(name)
        if len(set(words)) < 2 or len(name.split()) > 10 or not 0 < number < len(document.pages):
            continue
        page = document.pages[number]
        found = [
            block
            for block in page.blocks
            if any(name.lower() in line.lower() for line in block.lines) and len(block.text) < len(name) + 60
        ]
        # A heading at the foot of a page has its section on the next.
        if is_index_page(page) or is_licence(page) or len(found) != 1 or found[0].box[1] > 0.6 * page.size[1]:
            continue
        wording = rng.choice(
            ("What does the {t} say about {n}?", "{n} in the {t}", "Where does the {t} explain {n}?")
        )
        yield Draft(
            "section",
            wording.format(t=document.title, n=_lowered(name)),
            number,
            name.lower(),
            (),
            (found[0].box,),
        )


def _definitions(document: Document, rng: random.Random) -> Iterator[Draft]:
    for page in _text_pages(document):
        for block in page.blocks:
            for sentence in () if block.is_code else block.sentences:
                match = _DEFINITION.match(sentence)
                if match is None:
                    continue
                words = match["term"].lower().split()
                if (
                    _NO_TERM.intersection(words)
                    or len(match["term"]) < 4
                    or words[0].endswith("ly")
                    or _VAGUE.search(match["said"])
                ):
                    continue
                yield Draft(
                    "definition",
                    f"{_asked(match['term'], sentence)}, according to the {document.title}?",
                    page.number,
                    match["term"].lower(),
                    (match["said"].rstrip("."),),
                    (block.box,),
                )


def _options(document: Document, rng: random.Random) -> Iterator[Draft]:
    for page in _text_pages(document):
        for block in page.blocks:
            match = _OPTION.match(block.lines[0])
            if match is None:
                continue
            said = _SAID.sub("", block.text[len(match["option"]) :], count=1).split(". ")[0].rstrip(".")
            if not said[:1].isupper() or not 5 <= len(said.split()) <= MOST_WORDS:
                continue
            if rng.random() < 0.5:
                question = f"What does the option {match['option']} do, according to the {document.title}?"
                yield Draft("option", question, page.number, match["option"], (said,), (block.box,))
            else:
                question = f"{document.title}: which option does this? {said}"
                yield Draft(
                    "option", question, page.number, match["option"], (match["option"],), (block.box,)
                )


def _defaults(document: Document, rng: random.Random) -> Iterator[Draft]:
    for page in _text_pages(document):
        before = ""
        for block in page.blocks:
            for line in block.lines:
                value, name = _DEFAULT_LINE.match(line), _NAME_LINE.match(before)
                if value and name and _VALUE.match(_value(value["value"])):
                    yield _default(document, page, name["name"], value["value"], block.box)
                before = line
            for match in _DEFAULT_IN.finditer(block.text):
                if _VALUE.match(_value(match["value"])):
                    yield _default(document, page, match["name"], match["value"], block.box)


def _default(document: Document, page: TextPage, name: str, value: str, box: Box) -> Draft:
    question = f"What is the default of {name} in the {document.title}?"
    return Draft("default", question, page.number, name.lower(), (_value(value),), (box,), {"name": name})


def _value(text: str) -> str:
    """Return a value without the marks after it."""
    return text.strip(" .;()")


def _captions(document: Document, rng: random.Random) -> Iterator[Draft]:
    for page in _text_pages(document):
        for block in page.blocks:
            match = _CAPTION.match(block.text)
            if match is None or re.search(r"(\. ?){3,}|\s\d+$", block.text):
                continue
            said = match["text"].split(". ")[0].rstrip(".")
            if len(set(_WORD.findall(said))) < 3 or len(said.split()) > MOST_WORDS:
                continue
            kind = "table" if match["kind"] == "Table" else "figure"
            wording = rng.choice(("Which {k} of the {t} shows this: {s}?", "{t}, {k}: {s}"))
            question = wording.format(k=kind, t=document.title, s=_lowered(said))
            yield Draft("caption", question, page.number, said.lower(), (), (block.box,))


def _keywords(document: Document, rng: random.Random) -> Iterator[Draft]:
    counts = Counter(
        word for page in document.pages for word in {found.lower() for found in _WORD.findall(page.text)}
    )
    most = max(3, len(document.pages) // 6)
    for page in _text_pages(document):
        choices = []
        for block in page.blocks:
            for sentence in () if block.is_code else block.sentences:
                words = list(dict.fromkeys(word.lower() for word in _WORD.findall(sentence)))
                telling = [word for word in words if 2 <= counts[word] <= most and word not in _PLAIN]
                if 8 <= len(sentence.split()) <= 40 and len(telling) >= 4:
                    choices.append((telling, block.box))
        if not choices:
            continue
        telling, box = rng.choice(choices)
        chosen = set(rng.sample(telling, min(5, len(telling))))
        query = [word for word in telling if word in chosen]
        others = [p.number for p in document.pages if all(word in p.text.lower() for word in query)]
        if others == [page.number]:
            yield Draft(
                "keywords", f"{document.title}: {' '.join(query)}", page.number, " ".join(query), (), (box,)
            )


KINDS: dict[str, Callable[[Document, random.Random], Iterator[Draft]]] = {
    "section": _sections,
    "definition": _definitions,
    "option": _options,
    "default": _defaults,
    "caption": _captions,
    "keywords": _keywords,
}


def _text_pages(document: Document) -> list[TextPage]:
    return [page for page in document.pages[1:] if not is_index_page(page) and not is_licence(page)]


def _lowered(title: str) -> str:
    """Return a title with its first letter small, unless it is written in capitals or has several."""
    first, *others = title.split()
    ordinary = first[1:].islower() and not any(word[0].isupper() for word in others)
    return title[0].lower() + title[1:] if ordinary else title


def _asked(term: str, sentence: str) -> str:
    """Return "What is" or "What are" with the term and its article."""
    first = sentence.split()[0]
    article = f"{first.lower()} " if first in ("The", "A", "An") else ""
    return f"What {'are' if f'{term} are ' in sentence else 'is'} {article}{term}"


def unanswerable(
    asked: Sequence[tuple[Document, Draft]], rng: random.Random
) -> Iterator[tuple[Document, Draft]]:
    """Yield questions of options and defaults asked of a document that never names them."""
    for _, draft in asked:
        if draft.kind not in ("option", "default") or draft.question.startswith(
            tuple(d.title for d, _ in asked)
        ):
            continue
        name = draft.settings.get("name", draft.key)
        others = [d for d, _ in asked if all(name.lower() not in page.text.lower() for page in d.pages)]
        if others:
            other = rng.choice(sorted(others, key=lambda document: document.file))
            words = "the option" if draft.kind == "option" else "the default of"
            question = (
                f"What does the option {name} do, according to the {other.title}?"
                if draft.kind == "option"
                else f"What is {words} {name} in the {other.title}?"
            )
            yield other, Draft("unanswerable", question, -1, question)
