"""Requests about the form of the answer, which say nothing of where the answer is.

Questions for a chain often end in them: "Please write the answer in int format.", "Answer in one sentence.",
"Give me a list, e.g. ["a", "b"]". Their words (format, list, integer) are rare on pages, so a search by words
goes after them. Whoever writes an answer needs them; a search, a reranker and quotes are better without.
Figures: ``docs/lab-log.md``, "Requests about the form of the answer".
"""

from __future__ import annotations

import re

_SENTENCE_END = re.compile(r"(?<=[.?!])\s*(?=[\"'\[(]?[A-ZÄÖÜÉ])")
_POLITE = r"(?: (?: please | kindly | directly | only | just | simply | also | then | bitte ) [\s,]+ )*"
_ANSWER = re.compile(
    rf"""(?ix) ^\W* {_POLITE}
    (?: (?: answer | respond | reply | format | round
          | antworten? | réponds | répondez | responde | responda | rispondi ) \b
      | (?: your | the | deine | ihre | die | ta | votre | la | tu ) \s+
        (?: answers? | outputs? | responses? | results? | reply
          | antwort | réponse | respuesta | risposta ) \s+
        (?: should | must | needs? | has | have | can | will | is | soll | muss | doit | debe | deve ) \b
      | (?: for\s+example | e\.?g\. | such\s+as ) [\s,:]* ["'\[(\d] )"""
)
"""Sentences that speak of the answer."""

_VERB = re.compile(
    rf"""(?ix) ^\W* {_POLITE}
    (?: write | give | return | save | enumerate | express | report | output | provide | use
      | keep | state | print | put | present | represent | list | gib | schreibe | donne | donnez ) \b"""
)
"""Sentences that do if they name a form, too: one may as well say "List the branches"."""

_FORM = re.compile(
    r"""(?ix) \b (?: answers? | formats? | formatted | integers? | int | floats? | strings? | lists?
    | decimals? | rounded | json | yaml | markdown | csv | words? | sentences? | paragraphs? | bullets?
    | alphabetical | ascending | descending
    | satz | sätzen | wort | worten | antwort | réponse | phrases? | mots? ) \b"""
)


def without_answer_form(text: str) -> str:
    """Leave out the sentences that ask for a form of the answer.

    Args:
        text: a question. Its first sentence goes only if it speaks of the answer itself, and no sentence that
            ends in a question mark goes.

    Returns:
        The text as it is, where there is no such sentence or nothing else.

    Example:
        >>> without_answer_form("How many sites are there in Asia? Answer in one word.")
        'How many sites are there in Asia?'
        >>> without_answer_form("List the sites in Asia.")
        'List the sites in Asia.'
    """
    sentences = _SENTENCE_END.split(text)
    rest = [sentence for number, sentence in enumerate(sentences) if not _is_on_form(sentence, number == 0)]
    return text if len(rest) in (0, len(sentences)) else " ".join(rest).strip()


def _is_on_form(sentence: str, is_first: bool) -> bool:
    if sentence.rstrip().endswith("?"):
        return False
    if _ANSWER.match(sentence):
        return True
    verb = None if is_first else _VERB.match(sentence)
    return verb is not None and _FORM.search(sentence, verb.end()) is not None
