"""The text of a JSON answer while the JSON is still arriving, thoughts skipped.

Two small readers in a row, fed with pieces cut anywhere. Each returns the text that no later piece can
change: `ThoughtFilter` -> `StringField`; `mmrag.serving.marks.MarkStream` then rewrites its marks.

Why not jiter, which parses partial JSON: it refuses raw line breaks inside strings and lone surrogates, and
models write both when no schema holds them.
"""

from __future__ import annotations

import re

_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_SURROGATE = re.compile("[\ud800-\udfff]")
THOUGHT_END = "</think>"


class ThoughtFilter:
    """Removes the model's thought from the content, if the server left one in it.

    A thought is everything before ``</think>``, with or without its ``<think>`` (some chat templates
    write the opening tag themselves). Content that begins as JSON, or as a fence around it, has none.

    Attributes:
        raw: all pieces fed.
        rest: all text returned.
    """

    def __init__(self) -> None:
        self.raw = ""
        self.rest = ""
        self._after_thought = False
        self._position = 0  # where the end of the thought may begin

    @property
    def in_thought(self) -> bool:
        """Return whether a thought began and has not ended."""
        return not self._after_thought and self.raw.lstrip().startswith("<think>")

    def feed(self, piece: str) -> str:
        """Return the part of this piece, and of the text held back, that is no thought."""
        self.raw += piece
        if self._after_thought:
            self.rest += piece
            return piece
        start = len(self.raw) - len(self.raw.lstrip()) if self._position == 0 else 0
        is_json = self._position == 0 and self.raw[start : start + 1] in ("{", "`")
        end = self.raw.find(THOUGHT_END, self._position)
        if is_json:
            text = self.raw[start:]
        elif end >= 0:
            text = self.raw[end + len(THOUGHT_END) :]
        else:
            # white space alone may still turn out to be the start of JSON
            self._position = max(0, len(self.raw) - len(THOUGHT_END)) if self.raw[start:] else 0
            return ""
        self._after_thought = True
        self.rest = text
        return text


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
        self._in_field = False

    def feed(self, piece: str) -> str:
        """Return the characters of the field that this piece completes."""
        out: list[str] = []
        for char in piece:
            if self._string is None:
                self._structure(char)
                continue
            text = self._decode(char)
            if text is None:
                self._end_string(out)
            elif self._in_field:
                out.append(text)
            else:
                self._string.append(text)
        return "".join(out)

    def _structure(self, char: str) -> None:
        if char == '"' and self._depth:
            self._string = []
            self._in_field = self._depth == 1 and self._key == self._name
        elif char in "{[":
            self._depth += 1
        elif char in "}]":
            self._depth -= 1
        elif char == "," and self._depth == 1:
            self._key = None

    def _end_string(self, out: list[str]) -> None:
        if self._in_field:
            out.append(self._flush())
        elif self._depth == 1 and self._key is None and self._string is not None:
            self._key = "".join(self._string)
        self._string = None

    def _flush(self) -> str:
        lone, self._high = self._high, ""
        return "\ufffd" if lone else ""

    def _decode(self, char: str) -> str | None:
        """Return the text that a character of an open string adds; None at its closing quotation mark."""
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
            pair, self._high = self._high + char, ""
            return pair.encode("utf-16", "surrogatepass").decode("utf-16")
        return self._flush() + char


def replace_surrogates(text: str) -> str:
    """Replace lone surrogates, which neither files nor terminals can take."""
    return _SURROGATE.sub("\ufffd", text)
