"""Prompts are text files: data that is read, reviewed and replaced as data.

Those of the package stand in ``mmrag/rerank/prompts/``. A folder of one's own may replace any of them by
a file of the same name; a name that the package does not know is refused, since it would change nothing.
``$name`` in a file is a place that is filled in; a replacement has the same places as the original.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from string import Template

_PLACE = re.compile(r"\$(?:\{([a-z_]+)\}|([a-z_]+))")


class Prompts:
    """The prompt files, some perhaps replaced.

    Args:
        folder: holds ``*.txt`` that replace those of the package; None replaces none.
        package: whose ``prompts/`` these are.

    Raises:
        ValueError: no such folder, none of its files is a prompt, or one is unknown, not UTF-8, empty, or
            has not the places of the original.
    """

    def __init__(self, folder: str | Path | None = None, *, package: str = "mmrag.rerank") -> None:
        self.folder = None if folder is None else Path(folder)
        self._package = package
        self._own = {} if self.folder is None else _read_folder(self.folder, package)

    def __repr__(self) -> str:
        return f"Prompts({str(self.folder) if self.folder else ''!r})"

    def text(self, name: str) -> str:
        """The prompt of this file name, without the ``.txt``.

        Raises:
            ValueError: there is no such prompt.
        """
        if name in self._own:
            return self._own[name]
        return _packaged(name, self._package)

    def fill(self, name: str, **places: str) -> str:
        """The prompt with its places filled in, once: a ``$`` in what is filled in stays what it is."""
        return Template(self.text(name)).substitute(places)

    def digest(self, names: Sequence[str]) -> str:
        """First 12 hexadecimal digits of the SHA-256 over these prompts: changes when one of them does."""
        whole = hashlib.sha256()
        for name in names:
            text = self.text(name).encode("utf-8")
            whole.update(f"{name} {len(text)}\n".encode() + text)
        return whole.hexdigest()[:12]


@cache
def _packaged(name: str, package: str) -> str:
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
    own: dict[str, str] = {}
    for path in sorted(folder.glob("*.txt")):
        if path.stem not in _names(package):
            raise ValueError(
                f"{str(path)!r} replaces no prompt. Name it as one of: "
                f"{', '.join(name + '.txt' for name in sorted(_names(package)))}."
            )
        own[path.stem] = _read(path, package)
    if not own:
        raise ValueError(
            f"the folder of prompts must hold at least one of "
            f"{', '.join(name + '.txt' for name in sorted(_names(package)))}; {str(folder)!r} holds none."
        )
    return own


def _read(path: Path, package: str) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"a prompt must be UTF-8 text, {str(path)!r} is not ({error}).") from error
    if not text:
        raise ValueError(f"a prompt must not be empty, {str(path)!r} is.")
    wanted, given = _places(_packaged(path.stem, package)), _places(text)
    if wanted != given:
        raise ValueError(
            f"{str(path)!r} must have the places {_listed(wanted)} of the original, got {_listed(given)}. "
            "Write '$$' for a dollar sign."
        )
    return text


def _places(text: str) -> set[str]:
    return {braced or plain for braced, plain in _PLACE.findall(text.replace("$$", ""))}


def _listed(places: set[str]) -> str:
    return ", ".join(f"${place}" for place in sorted(places)) or "(none)"
