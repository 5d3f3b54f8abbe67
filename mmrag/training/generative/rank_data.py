"""Examples of the stage `rerank`, from the JSONL of ``mmrag mine`` and of the stage `curate`.

Every page that was judged relevant is a positive here, labelled or not: Magic-MM-Embedding trains its
reranker on what the judge's yes removed from the negatives. Pages that were removed for being too close to
the positive, and doubtful ones, are neither positives nor negatives.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmrag.training.data import Example, Side, examples_of, side_of
from mmrag.training.mining.records import read_mined
from mmrag.training.mining.rules import JUDGED_POSITIVE, SAME_TEXT

logger = logging.getLogger(__name__)

RELEVANT = (JUDGED_POSITIVE, SAME_TEXT)
"""Reasons for removing a page from the negatives that say that it is relevant."""


def read_rank_examples(
    path: str | Path, listwise: tuple[int, int], *, cap: int | None = None
) -> list[Example]:
    """Read one example per relevant page, with all negatives of its query.

    A query without a negative gives no example: a model that only ever learns yes says yes.

    Args:
        path: the file.
        listwise: least and most negatives of a list; a warning counts examples with fewer.
        cap: largest number of examples.

    Raises:
        FileNotFoundError, ValueError: see `mmrag.training.data.read_examples`; or no example has a negative.
    """
    examples: list[Example] = []
    without_negative = 0
    for number, record in enumerate(read_mined(path), 1):
        where = f"{path}, example {number} ({record['query']['id']!r})"
        negatives = _negatives(record, where)
        without_negative += not negatives
        examples += _rank_examples(record, negatives, where)
        if cap is not None and len(examples) >= cap:
            break
    examples = examples[:cap]
    if not examples:
        raise ValueError(f"{path} must hold at least one query with a positive and a negative, got none.")
    too_few = sum(len(example.negatives) < listwise[0] for example in examples)
    if without_negative:
        logger.warning("%s: %d queries have no negative and are left out", path, without_negative)
    if too_few:
        logger.warning(
            "%s: %d examples have fewer than %d negatives: pointwise tasks only", path, too_few, listwise[0]
        )
    return examples


def _negatives(record: Mapping[str, Any], where: str) -> tuple[Side, ...]:
    """Return the negatives of a record without those whose content is known to be relevant."""
    relevant = _relevant(record, where)
    sides = [side_of(item, f"{where}: negative") for item in record["negatives"]]
    return tuple(side for side in sides if side.key not in relevant)


def _relevant(record: Mapping[str, Any], where: str) -> frozenset[str]:
    """Return the keys of everything that may answer the query."""
    return frozenset(side_of(item, where).key for item in (*record["positives"], *record["removed"]))


def _rank_examples(record: Mapping[str, Any], negatives: tuple[Side, ...], where: str) -> Iterator[Example]:
    """Yield an example per relevant page of a record, labelled ones first; none without negatives."""
    query = side_of(record["query"], f"{where}: query")
    positives = {example.positive.key: example.positive for example in examples_of(record, where)}
    for item in record["removed"]:
        if item.get("reason") in RELEVANT:
            side = side_of(item, f"{where}: removed")
            positives.setdefault(side.key, side)
    for side in positives.values() if negatives else ():
        if side.key != query.key:
            relevant = _relevant(record, where)
            yield Example(record["query"]["id"], query, side, negatives, relevant=relevant)
