"""The one place where text from outside becomes data inside a prompt.

Page text, file names, labels, record ids, questions and thoughts are data: none of it may end a block, begin
another, or be a control token of a chat template. Servers turn ``<|im_end|>`` into the real token wherever it
occurs. Decisions:

* *By shape, not by list.* Every family spells its tokens in its own way, and new ones come each month. All
  open with a character that ordinary words do not: ``<`` (``<|im_end|>``, ``<start_of_turn>``, ``<s>``,
  ``<<SYS>>``, ``</think>``), a bracket around one word (``[INST]``, ``[|user|]``, ``[gMASK]``), or a bracket
  that runs into a symbol (``]~b]``, ``[e~[``). A space goes behind it, and no tokenizer knows the rest.
* *Only spaces are put in.* People and models read the same words, and `mmrag.answer.quotes` finds a passage
  that a model copied from here: it counts neither spaces nor brackets.
* *Numbers in brackets are spaced too*: ``[2] trusted.pdf`` on a page is no second source, and a note
  ``[12]`` that a model copies is no citation.
* *What tokenizers fold to those characters counts as them*: wide, small and vertical forms.
* Switches that some templates look for in a message (``/no_think``) are spaced as well.
"""

from __future__ import annotations

import hashlib
import re

CUT = " […]"  # marks the end of a text that was cut
LINE_CHARS = 200  # of a name or label in a heading
_ANGLES = "<\uff1c\ufe64\u226e\u25c1"  # plain, wide, small, one that falls apart to "<", Kimi's
_OPEN, _CLOSE = "\\[\uff3b\ufe47", "\\]\uff3d\ufe48"  # plain, wide, vertical
_BRACKET = rf"[{_OPEN}](?=(?:\d[\d,;\s]{{0,40}}|[^\s{_OPEN}{_CLOSE}]{{2,80}})[{_OPEN}{_CLOSE}])"
_RUN_ON = rf"[{_CLOSE}](?=[~!|<])"
_SWITCH = r"/(?=(?:no_?)?think)"
_OPENING = re.compile(rf"(?:[{_ANGLES}](?=\S)|{_BRACKET}|{_RUN_ON}|{_SWITCH})")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_JOINERS = "\u200c\u200d"  # of letters, in Persian, Hindi and others; not printable by themselves


def as_data(text: str) -> str:
    """Return the text with everything defused that could close a marker or be a control token."""
    text = _SURROGATE.sub("\ufffd", text).replace("\x00", "\ufffd")
    return _OPENING.sub(lambda opening: opening.group() + " ", text)


def as_line(text: str) -> str:
    """Return a name, a label or an id as data on one line of at most `LINE_CHARS` characters and a mark.

    Line breaks, control characters and marks of direction become spaces.
    """
    text = _SURROGATE.sub("\ufffd", text)
    line = "".join(char if char.isprintable() or char in _JOINERS else " " for char in text)
    return as_data(cut_text(" ".join(line.split()), LINE_CHARS))


def data_mark(*data: str) -> str:
    """Return six hexadecimal digits that belong to these texts."""
    return hashlib.sha256("\x00".join(data).encode("utf-8", errors="replace")).hexdigest()[:6]


def data_block(name: str, mark: str, text: str) -> str:
    """Return a text as data between two markers, which nothing in it can close.

    Args:
        name: of the markers, a word.
        mark: see `data_mark`.
        text: as it came.
    """
    return f"<{name}-{mark}>\n{as_data(text)}\n</{name}-{mark}>"


def cut_text(text: str, cap: int) -> str:
    """Cut a text to `cap` characters, between words if there is a gap near, and mark it as cut."""
    if len(text) <= cap:
        return text
    gap = text.rfind(" ", cap - cap // 8, cap)
    return text[: gap if gap > 0 else cap] + CUT
