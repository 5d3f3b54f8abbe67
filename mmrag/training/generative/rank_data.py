"""Examples for the stage `rerank`, from the JSONL of ``mmrag mine`` and of the stage `curate`.

Whatever was judged relevant is a positive here, whether it was labelled or not: what was removed from the
negatives because the judge said yes is what Magic-MM-Embedding teaches its reranker with. What was removed
for being too close to the positive, and what is doubtful, is neither a positive nor a negative.
"""

from __future__ import annotations

import logging
from pathlib import Path

from mmrag.training.data import Example, _examples, _side
from mmrag.training.mining.records import read_mined
from mmrag.training.mining.rules import JUDGED_POSITIVE, SAME_TEXT

logger = logging.getLogger(__name__)

RELEVANT = (JUDGED_POSITIVE, SAME_TEXT)
"""Reasons to remove a page from the negatives that say that it helps."""


def read_rank_examples(
    path: str | Path, listwise: tuple[int, int], *, cap: int | None = None
) -> list[Example]:
    """One example for every page known to help, with all the negatives of its query.

    A query without a negative gives none: a model that is only ever told yes says yes.

    Args:
        path: the file.
        listwise: least and most negatives of a list, to say how many examples are too short for one.
        cap: most examples.

    Raises:
        FileNotFoundError, ValueError: as `mmrag.training.data.read_examples`; or no example has a negative.
    """
    examples: list[Example] = []
    without = 0
    for number, line in enumerate(read_mined(path), 1):
        where = f"{path}, example {number} ({line['query']['id']!r})"
        # a line without a label may still have pages that were judged relevant
        labelled = list(_examples(line, where))
        negatives = [_side(item, f"{where}: negative") for item in line["negatives"]]
        query = _side(line["query"], f"{where}: query")
        relevant = frozenset(_side(item, where).key for item in (*line["positives"], *line["removed"]))
        kept = tuple(side for side in negatives if side.key not in relevant)
        if not kept:
            without += 1
            continue
        sides = {one.positive.key: one.positive for one in labelled}
        for item in line["removed"]:
            if item.get("reason") not in RELEVANT:
                continue
            side = _side(item, f"{where}: removed")
            sides.setdefault(side.key, side)
        examples += [
            Example(line["query"]["id"], query, side, kept, relevant=relevant)
            for side in sides.values()
            if side.key != query.key
        ]
        if cap is not None and len(examples) >= cap:
            break
    examples = examples[:cap]
    if not examples:
        raise ValueError(f"{path} must hold at least one query with a positive and a negative, got none.")
    few = sum(len(one.negatives) < listwise[0] for one in examples)
    if without:
        logger.warning("%s: %d queries have no negative and are left out", path, without)
    if few:
        logger.warning(
            "%s: %d examples have fewer than %d negatives: judged alone, in no list", path, few, listwise[0]
        )
    return examples
