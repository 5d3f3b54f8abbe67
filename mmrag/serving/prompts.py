"""Prompts are text files: data that is read, reviewed and replaced as data.

A package keeps its own in ``prompts/``, such as ``mmrag/rerank/prompts/``. A user's folder may replace any of
them by a file of the same name; any other file name is refused, since it would change nothing. ``$name`` in a
file is a field that is filled in; a replacement has the same fields as the original.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from string import Template

_FIELD = re.compile(r"\$(?:\{([a-z_]+)\}|([a-z_]+))")


class Prompts:
    """The prompt files of a package, with a user's replacements.

    Args:
        folder: holds ``*.txt`` that replace those of the package; None replaces none.
        package: whose ``prompts/`` these are.

    Raises:
        ValueError: the folder is missing or has no prompt, or a file in it replaces no prompt, is not
            UTF-8, is empty, or has other fields than the original.
    """

    def __init__(self, folder: str | Path | None = None, *, package: str = "mmrag.rerank") -> None:
        self.folder = None if folder is None else Path(folder)
        self._package = package
        self._replacements = {} if self.folder is None else _read_folder(self.folder, package)

    def __repr__(self) -> str:
        return f"Prompts({str(self.folder) if self.folder else ''!r})"

    def text(self, name: str) -> str:
        """Return the prompt with this file name, without the ``.txt``.

        Raises:
            ValueError: there is no such prompt.
        """
        if name in self._replacements:
            return self._replacements[name]
        return _package_text(name, self._package)

    def fill(self, name: str, **values: str) -> str:
        """Fill the fields of a prompt; a ``$`` in a value stays."""
        return Template(self.text(name)).substitute(values)

    def digest(self, names: Sequence[str]) -> str:
        """Return 12 hexadecimal digits that change when one of these prompts does."""
        whole = hashlib.sha256()
        for name in names:
            text = self.text(name).encode("utf-8")
            whole.update(f"{name} {len(text)}\n".encode() + text)
        return whole.hexdigest()[:12]


@cache
def _package_text(name: str, package: str) -> str:
    path = files(package) / "prompts" / f"{name}.txt"
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise ValueError(
            f"prompt must be one of {', '.join(sorted(_names(package)))}, got {name!r}."
        ) from None


@cache
def _names(package: str) -> frozenset[str]:
    paths = (files(package) / "prompts").iterdir()
    return frozenset(path.name.removesuffix(".txt") for path in paths if path.name.endswith(".txt"))


def _read_folder(folder: Path, package: str) -> dict[str, str]:
    if not folder.is_dir():
        raise ValueError(f"prompts must be a folder with text files, got {str(folder)!r}, which is none.")
    texts: dict[str, str] = {}
    for path in sorted(folder.glob("*.txt")):
        if path.stem not in _names(package):
            raise ValueError(
                f"{str(path)!r} replaces no prompt. Name it as one of: "
                f"{', '.join(name + '.txt' for name in sorted(_names(package)))}."
            )
        texts[path.stem] = _read(path, package)
    if not texts:
        raise ValueError(
            f"the folder of prompts must hold at least one of "
            f"{', '.join(name + '.txt' for name in sorted(_names(package)))}; {str(folder)!r} holds none."
        )
    return texts


def _read(path: Path, package: str) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"a prompt must be UTF-8 text, {str(path)!r} is not ({error}).") from error
    if not text:
        raise ValueError(f"a prompt must not be empty, {str(path)!r} is.")
    original, replacement = _fields(_package_text(path.stem, package)), _fields(text)
    if original != replacement:
        raise ValueError(
            f"{str(path)!r} must have the places {_field_list(original)} of the original, "
            f"got {_field_list(replacement)}. "
            "Write '$$' for a dollar sign."
        )
    return text


def _fields(text: str) -> set[str]:
    return {in_braces or plain for in_braces, plain in _FIELD.findall(text.replace("$$", ""))}


def _field_list(fields: set[str]) -> str:
    return ", ".join(f"${field}" for field in sorted(fields)) or "(none)"
