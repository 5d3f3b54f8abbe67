"""What a document of the tables pack is about."""

from __future__ import annotations

from dataclasses import dataclass

from packs.grid import Grid
from packs.truth import Wording


@dataclass(frozen=True)
class Topic:
    """Tables with the words in which one asks about them.

    Attributes:
        title: of the document.
        kind: of document, for the report.
        tables: each with its wording.
        who: who made it, for prose and running heads.
        computed: whether comparing and adding up makes sense.
    """

    title: str
    kind: str
    tables: tuple[tuple[Grid, Wording], ...]
    who: str
    computed: bool = True
