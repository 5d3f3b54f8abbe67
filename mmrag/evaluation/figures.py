"""Scopes, groups of questions, and figures with intervals: what every report of a pack is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from mmrag.evaluation.pack import Question

SCOPES = ("pack", "document")
SCOPE_TITLES = {"pack": "whole pack", "document": "within document"}

Values: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean and its bootstrap interval, 0..1."""

    mean: float
    low: float
    high: float


def groups(questions: Sequence[Question]) -> Iterator[tuple[str, list[int]]]:
    """Yield the groups that have a question, in the order of the table."""
    answerable = [question.answerable for question in questions]
    scans = [question.image_only_evidence for question in questions]
    flags: dict[str, list[bool]] = {
        "all": [True for _ in questions],
        "human-written": [question.human_written for question in questions],
        "image-only evidence": scans,
        "text-layer evidence": [ok and not scan for ok, scan in zip(answerable, scans, strict=True)],
    }
    for source in sorted({question.source for question in questions} - {""}):
        flags[f"source: {source}"] = [question.source == source for question in questions]
    for kind in sorted({kind for question in questions for kind in question.evidence_types}):
        flags[f"evidence: {kind}"] = [kind in question.evidence_types for question in questions]
    for kind in sorted({question.kind for question in questions} - {""}):
        flags[f"kind: {kind}"] = [question.kind == kind for question in questions]
    yield from _members(flags)


def answer_format_groups(questions: Sequence[Question]) -> Iterator[tuple[str, list[int]]]:
    """Yield a group for each format of answers, of the answerable questions that name one."""
    formats = sorted({question.answer_format for question in questions if question.answerable} - {""})
    yield from _members(
        {
            f"answer: {name}": [
                question.answerable and question.answer_format == name for question in questions
            ]
            for name in formats
        }
    )


def _members(flags: dict[str, list[bool]]) -> Iterator[tuple[str, list[int]]]:
    for name, members in flags.items():
        if any(members):
            yield name, [position for position, member in enumerate(members) if member]
