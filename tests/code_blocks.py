"""Python and shell blocks of README, docs, the integrations' READMEs: which there are, and which do not run.

``docs/code-blocks.md`` is the list of what does not run, with the reasons; all else does.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
LIST = ROOT / "docs" / "code-blocks.md"
PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in [
        ROOT / "README.md",
        ROOT / ".github" / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "integrations").glob("*/README.md")),
        *sorted((ROOT / "scripts").glob("*/README.md")),
    ]
    if path.exists()
}
SHELLS = {"sh", "bash", "console"}
EVERY = "every page"
_BLOCK = re.compile(
    r"^(?P<fence>```+)(?P<language>\w*)(?P<name>[^\n]*)\n(?P<code>.*?)^(?P=fence)", re.M | re.S
)
_COMMAND = re.compile(r"(?:\w+=\S+ )*(?:mmrag|make|python3?|pip|vllm|pytest|curl|hf) ")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `commands` are the lines of a shell, continued ones joined."""

    page: str
    language: str
    name: str
    code: str

    @property
    def is_shell(self) -> bool:
        return self.language in SHELLS or (not self.language and bool(_COMMAND.match(self.code)))

    @property
    def commands(self) -> list[str]:
        if not self.is_shell:
            return []
        lines = self.code.replace("\\\n", " ").splitlines()
        if any(line.startswith("$ ") for line in lines):  # the rest is what was printed
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        words = [shlex.split(line, comments=True) for line in lines]
        return [shlex.join(found) for line in words for found in _parts(line) if found]


def _parts(words: list[str]) -> Iterator[list[str]]:
    """Commands of a line, which ``&&`` parts, without what is set for them."""
    start = 0
    for place in [*(at for at, word in enumerate(words) if word == "&&"), len(words)]:
        part = words[start:place]
        while part and re.match(r"[A-Z_]+=", part[0]):
            part = part[1:]
        yield part
        start = place + 1


def blocks_of(page: str) -> list[Block]:
    """Blocks of a page, in order, of whatever language."""
    text = PAGES[page].read_text("utf-8")
    return [Block(page, m["language"], m["name"].strip(), m["code"]) for m in _BLOCK.finditer(text)]


@dataclass(frozen=True)
class Unrun:
    """A row of the list: what has one of the `pieces` on `page` does not run, for the reason `why`."""

    page: str
    pieces: tuple[str, ...]
    why: str

    def names(self, page: str, text: str) -> bool:
        """Whether the row speaks of a Python block, or of a command."""
        return self.page in (page, EVERY) and any(piece in text for piece in self.pieces)


@cache
def listed() -> list[Unrun]:
    """Rows of ``docs/code-blocks.md``."""
    rows = []
    for line in LIST.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and "`" in line:
            link = re.search(r"\]\(([^)]+)\)", cells[0])
            page = (LIST.parent / link[1]).resolve().relative_to(ROOT).as_posix() if link else cells[0]
            rows.append(Unrun(page, tuple(re.findall(r"`([^`]+)`", cells[1])), cells[2]))
    return rows


def is_listed(page: str, text: str) -> bool:
    """Whether a Python block or a command stands in the list."""
    return any(row.names(page, text) for row in listed())
