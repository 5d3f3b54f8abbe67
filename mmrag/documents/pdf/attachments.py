"""Files attached to a document: their names, and themselves as documents of their own.

Decisions taken here:

* Attached files are named on the page that carries them, the first for those of the whole file; they are
  read with ``ReaderSettings(attachments=True)``, also what is attached to them, up to `DEEPEST` levels.
* A name is only text: its folders and control characters are dropped, and nothing is written to a disk.
* The files of one document have at most `MOST_BYTES` together and are at most `MOST_FILES`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

DEEPEST = 3
MOST_FILES = 500
MOST_BYTES = 256 << 20
NAMED_FILES = 20
"""Most names in a note."""

_LONGEST_NAME = 120


def plain_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return names that are safe to print and differ from each other; in order, one for each."""
    plain: list[str] = []
    for number, name in enumerate(names, 1):
        last = re.split(r"[/\\]", name)[-1]
        text = "".join(character for character in last if character.isprintable()).strip(" .")
        text = text[-_LONGEST_NAME:] or f"attachment {number}"
        path, copy = PurePosixPath(text), 2
        while text in plain:
            text = f"{path.stem} ({copy}){path.suffix}"
            copy += 1
        plain.append(text)
    return tuple(plain)


def attached_note(names: Sequence[str]) -> str:
    """Word the note of a page that carries attached files."""
    names_text = ", ".join(names[:NAMED_FILES]) + (" …" if len(names) > NAMED_FILES else "")
    count = "1 file is" if len(names) == 1 else f"{len(names)} files are"
    verb = "is read" if len(names) == 1 else "are read"
    return f"{count} attached: {names_text} ({verb} with attachments=True or --attachments)"
