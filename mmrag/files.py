"""Files written whole or not at all, and JSON lines read strictly.

A file appears under its name when everything is in it: it is written as ``NAME.part`` in the same folder,
flushed to the disk and renamed. After a crash the old content is there, or the new one, never a part.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import IO, Any

# C0 but tab and line feed, DEL and C1, marks of direction that override, and halves of characters
ACTIVE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def utf8_name(name: str) -> str:
    r"""Return a file name that UTF-8 can write; bytes of another encoding become escapes: ``caf\xe9.pdf``.

    Python holds such bytes as lone surrogates, which open the file and which no text may hold.
    """
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # surrogates that stand for no byte
        return name.encode("utf-8", "backslashreplace").decode("utf-8")


def name_words(name: str) -> str:
    """Return the words of a file name or a path's last part, without suffix, cut where case changes.

    Bytes that are no UTF-8 are no letters, and part words.
    """
    stem = Path(name).stem
    return " ".join(re.sub(r"(?<=[^\W\d_A-Z])(?=[A-Z])|[\W_]+", " ", stem).split())


def visible(text: str) -> str:
    r"""Return a text with every character that a terminal acts on as an escape; tabs and line breaks stay.

    The bytes of a file name that are not UTF-8 are shown as such: ``caf\xe9.pdf``.
    """
    return ACTIVE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00  # Python's stand-in for a byte of a file name
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


@contextmanager
def atomic_write(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file for writing that appears at `path` when the block ends without an error.

    Folders on the way are created. If the block raises, `path` stays as it was and nothing is left behind.

    Args:
        path: where the file will be.
        mode: ``"w"`` for text in UTF-8, ``"wb"`` for bytes.

    Raises:
        ValueError: another mode.
        OSError: the folder cannot be written to.
    """
    if mode not in ("w", "wb"):
        raise ValueError(f"mode must be 'w' or 'wb', got {mode!r}.")
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    writer = f"{os.getpid()}-{threading.get_native_id()}"  # two threads may write one file
    partial = target.with_name(f"{target.name}.{writer}.part")
    try:
        with partial.open(mode, encoding="utf-8" if mode == "w" else None) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def read_json_lines(path: str | Path, noun: str = "line") -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield ``(line number from 1, object)`` for every line of a JSON Lines file that is not blank.

    Args:
        path: the file, UTF-8, with or without a byte order mark.
        noun: for a line in errors, for example ``"question"``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is not a JSON object; the error names file and line.
    """
    with Path(path).open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, _object(line, f"{path}, line {number}", noun)


def _object(line: bytes, position: str, noun: str) -> dict[str, Any]:
    try:
        text = line.decode("utf-8-sig")
        value = json.loads(text)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{position}: a {noun} must be UTF-8, got {error}. Save the file as UTF-8."
        ) from error
    except ValueError as error:
        raise ValueError(f"{position}: a {noun} must be a JSON object, got bad JSON ({error}).") from error
    if not isinstance(value, dict):
        raise ValueError(f"{position}: a {noun} must be a JSON object, got {text.strip()[:80]}")
    return value


def weights_folder(name: str) -> Path:
    """Return the folder of a model that ships in the package."""
    return Path(str(resources.files("mmrag"))) / "weights" / name
