r"""Text from outside as a terminal may show it: names, pages, answers and errors without escapes that act.

File names, page texts and model answers may hold control characters: colours, a cleared screen, a new window
title, text in the other direction. They are shown as escapes, ``\x1b``, and do nothing.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from mmrag.files import ACTIVE
from mmrag.files import visible as visible


def visible_json(data: Any, indent: int | None = None) -> str:  # noqa: ANN401  whatever JSON holds
    """Return data as JSON that any terminal and any UTF-8 file can take; it reads back as what it was."""
    ascii_only = (sys.stdout.encoding or "utf-8").lower().replace("-", "") != "utf8"
    text = json.dumps(data, ensure_ascii=ascii_only, indent=indent)
    return ACTIVE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def complain(text: str) -> None:
    """Print a line on standard error at once."""
    sys.stderr.write(visible(text) + "\n")
    sys.stderr.flush()


class VisibleFormatter(logging.Formatter):
    """A formatter of log lines for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record, its traceback too."""
        return visible(super().format(record))
