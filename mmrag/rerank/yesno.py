"""Asking a chat model a yes/no question, with or without a thought before the answer.

Shared by every mode that judges one candidate at a time (``pointwise`` by its picture and text, ``ecrr``
and ``qar`` by its trace).
"""

from __future__ import annotations

from collections.abc import Sequence

from mmrag.client import Json
from mmrag.rerank.mode import Settings
from mmrag.rerank.steps import Steps
from mmrag.types import Verdict


class YesNo:
    """Judges messages whose last one asks for yes or no.

    Args:
        settings: ``think_tokens``, ``sum_spellings`` and ``extra`` are looked at.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def prepare(self) -> Steps[None]:
        """Ask the server for the ids of its answer tokens and for what it can take; asked once."""
        raise RuntimeError("under way")
        yield

    def judge(self, messages: Sequence[Json], pictures: dict[str, str] | None = None) -> Steps[Verdict]:
        """Think for at most ``think_tokens``, then read one answer token.

        Args:
            messages: system and user; content as text or as parts.
            pictures: data URL by uuid for the parts that `mmrag.rerank.request.picture_part` made.
        """
        raise RuntimeError("under way")
        yield
