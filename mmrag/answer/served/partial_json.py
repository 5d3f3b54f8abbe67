"""The text of a JSON answer while the JSON is still coming: thoughts skipped, markers renumbered.

Three small readers in a row, each fed with pieces cut anywhere and giving what is certain so far:
`Thoughtless` -> `StringField` -> `Markers`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_MARKER = re.compile(r"\[(\d{1,2}(?:[,;\s]+\d{1,2})*)\]")
_MAYBE_MARKER = re.compile(r"\s*\[[\d,;\s]{0,40}$|\s+$")
_SURROGATE = re.compile("[\ud800-\udfff]")
_THOUGHT_END = "</think>"


class Thoughtless:
    """What follows the model's thought, where the server left one in the content.

    A thought is what stands before ``</think>``, with or without its ``<think>`` (some chat templates
    write the opening tag themselves). Content that begins as JSON, or as a fence around it, has none.

    Attributes:
        raw: everything fed.
        rest: everything given.
    """

    def __init__(self) -> None:
        self.raw = ""
        self.rest = ""
        self._open = False

    @property
    def thinking(self) -> bool:
        """Whether a thought began and has not ended."""
        return not self._open and self.raw.lstrip().startswith("<think>")

    def feed(self, piece: str) -> str:
        """The part of this piece, and of what was held back, that is no thought."""
        self.raw += piece
        if self._open:
            self.rest += piece
            return piece
        begun = self.raw.lstrip()
        if _THOUGHT_END in begun and begun[0] not in "{`":
            begun = begun.partition(_THOUGHT_END)[2]
        elif not begun or begun[0] not in "{`":
            return ""
        self._open = True
        self.rest = begun
        return begun


class StringField:
    """The decoded characters of one string at the top level of a JSON object.

    It does not judge the JSON: the whole is parsed strictly once it is there.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._depth = 0
        self._key: str | None = None  # of the value to come; None: a key comes
        self._string: list[str] | None = None  # characters of the string that is open
        self._escape: str | None = None  # what follows the backslash so far
        self._high = ""  # first half of a surrogate pair
        self._wanted = False

    def feed(self, piece: str) -> str:
        """Characters of the field that this piece completes."""
        out: list[str] = []
        for char in piece:
            if self._string is None:
                self._structure(char)
                continue
            decoded = self._decode(char)
            if decoded is None:
                self._end_string(out)
            elif self._wanted:
                out.append(decoded)
            else:
                self._string.append(decoded)
        return "".join(out)

    def _structure(self, char: str) -> None:
        if char == '"' and self._depth:
            self._string = []
            self._wanted = self._depth == 1 and self._key == self._name
        elif char in "{[":
            self._depth += 1
        elif char in "}]":
            self._depth -= 1
        elif char == "," and self._depth == 1:
            self._key = None

    def _end_string(self, out: list[str]) -> None:
        if self._wanted:
            out.append(self._flush())
        elif self._depth == 1 and self._key is None and self._string is not None:
            self._key = "".join(self._string)
        self._string = None

    def _flush(self) -> str:
        lone, self._high = self._high, ""
        return "\ufffd" if lone else ""

    def _decode(self, char: str) -> str | None:
        """What a character of an open string adds; None at its closing quotation mark."""
        if self._escape is None:
            if char == '"':
                return None
            if char == "\\":
                self._escape = ""
                return ""
            return self._flush() + char
        self._escape += char
        if self._escape[0] != "u":
            self._escape = None
            return self._flush() + _ESCAPES.get(char, char)
        if len(self._escape) < 5:
            return ""
        code, self._escape = self._escape[1:], None
        try:
            return self._pair(chr(int(code, 16)))
        except ValueError:
            return ""

    def _pair(self, char: str) -> str:
        if "\ud800" <= char <= "\udbff":
            before = self._flush()
            self._high = char
            return before
        if "\udc00" <= char <= "\udfff":
            if not self._high:
                return "\ufffd"
            both, self._high = self._high + char, ""
            return both.encode("utf-16", "surrogatepass").decode("utf-16")
        return self._flush() + char


class Markers:
    """Text in which each ``[n]`` is rewritten by a rule; white space at both ends is dropped.

    Args:
        rename: the new number of a page; raises for a page that there is none of.
    """

    def __init__(self, rename: Callable[[int], int]) -> None:
        self._rename = rename
        self._held = ""
        self._begun = False

    def feed(self, piece: str) -> str:
        """Text that no later piece can change."""
        text = self._held + piece
        maybe = _MAYBE_MARKER.search(text)
        cut = maybe.start() if maybe else len(text)
        self._held = text[cut:]
        return self._give(text[:cut])

    def finish(self) -> str:
        """What was held back."""
        held, self._held = self._held, ""
        return self._give(held.rstrip())

    def _give(self, text: str) -> str:
        if not self._begun:
            text = text.lstrip()
            self._begun = bool(text)
        return _MARKER.sub(self._rewrite, text)

    def _rewrite(self, marker: re.Match[str]) -> str:
        return "".join(f"[{self._rename(int(number))}]" for number in re.findall(r"\d+", marker.group(1)))


def without_surrogates(text: str) -> str:
    """The text with lone surrogates replaced, which no file and no terminal can take."""
    return _SURROGATE.sub("\ufffd", text)
