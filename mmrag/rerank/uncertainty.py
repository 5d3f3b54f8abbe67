"""Which verdicts are uncertain, so that a thought may change the order: the others cost none.

Thinking does not help everywhere: TWN (arXiv 2605.14448) and MMEmb-R1 (arXiv 2604.06156) report that needless
thoughts lower quality; TWN learns a gate for each input. Here nothing is learned: a first verdict without a
thought says how sure the model is. Its log-odds are compared with 0, where the model is undecided, and with
those of the best other candidate, with which it contends for the first place; the smaller difference counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mmrag.types import Verdict

MOST_LOG_ODDS = 700.0  # of a probability that a float cannot tell from 0 or 1


def uncertain_positions(verdicts: Sequence[Verdict], share: float) -> list[int]:
    """Return the positions of the most uncertain verdicts, in order.

    Args:
        verdicts: with a probability as score. One on a candidate that could not be read is never returned.
        share: of the verdicts that are returned, 0..1; at least one where it is above 0.

    Returns:
        Positions, ascending; ties go to the better verdict, then to the first.
    """
    log_odds = [_log_odds(verdict.score) for verdict in verdicts]
    readable = [position for position, verdict in enumerate(verdicts) if verdict.read]
    margins = {
        position: min(
            abs(log_odds[position]),
            abs(
                log_odds[position]
                - max((log_odds[at] for at in readable if at != position), default=math.inf)
            ),
        )
        for position in readable
    }
    order = sorted(readable, key=lambda position: (margins[position], -log_odds[position], position))
    count = max(1, math.floor(share * len(verdicts) + 1e-9)) if share > 0 else 0
    return sorted(order[:count])


def _log_odds(probability: float) -> float:
    if not 0.0 < probability < 1.0:
        return MOST_LOG_ODDS if probability >= 1.0 else -MOST_LOG_ODDS
    return math.log(probability) - math.log1p(-probability)
