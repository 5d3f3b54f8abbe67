"""The losses of the recipe, as functions of vectors and scores; where these come from is not their matter.

Shapes: Q queries, D documents, K negatives a query, r rows, d width, G nested groups.

* Contrast (MetaEmbed, Magic-MM-Embedding): for each nested group ``(r_q, r_d)`` the score is
  ``s = sum over the first r_q query rows of the max over the first r_d document rows``, a sum and no mean,
  and the loss of query i ``-log(exp(s_ii / t) / (sum over j of exp(s_ij / t) + sum over own negatives))``.
  The mean over groups and queries is taken. In-batch documents are shared, a query's own negatives count
  in its own row alone.
* Distillation (TTE-v2's loop, in the form of Qwen3-VL's second stage):
  ``-sum over d of softmax(judge / t_judge)_d * log softmax(s / t)_d`` over a query's own documents.
* Reranker (Magic-MM-Embedding): cross-entropy of yes and no, and of the place of the right one in a list.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

GROUPS: tuple[tuple[int, int], ...] = ((1, 1), (2, 4), (4, 8), (8, 16), (16, 64))
"""The paper's nested groups, query rows and document rows."""

TEMPERATURE = 0.03
MARGIN = 0.1
"""Per query row: a document this much above the positive is taken for a false negative."""


def nested_scores(queries: Tensor, documents: Tensor, groups: Sequence[tuple[int, int]]) -> Tensor:
    """Late-interaction scores ``(G, Q, D)`` of every query with every document at each budget.

    The similarities of all rows are computed once and sliced for each group.

    Args:
        queries: ``(Q, r_q, d)``, rows of norm 1.
        documents: ``(D, r_d, d)``.
        groups: budgets; none larger than the rows that are there.
    """
    similar = torch.einsum("qid,cjd->qcij", queries, documents)
    return _sliced(similar, groups)


def own_scores(queries: Tensor, documents: Tensor, groups: Sequence[tuple[int, int]]) -> Tensor:
    """Scores ``(G, Q, K)`` of each query with its own K documents ``(Q, K, r_d, d)``."""
    return _sliced(torch.einsum("qid,qkjd->qkij", queries, documents), groups)


def _sliced(similar: Tensor, groups: Sequence[tuple[int, int]]) -> Tensor:
    """``(A, B, r_q, r_d)`` similarities to ``(G, A, B)`` scores."""
    rows = similar.shape[-2:]
    for group in groups:
        if not (1 <= group[0] <= rows[0] and 1 <= group[1] <= rows[1]):
            raise ValueError(f"groups must be within the {tuple(rows)} rows that are there, got {group}.")
    return torch.stack([similar[..., :q, :d].amax(-1).sum(-1) for q, d in groups])


def contrast(
    in_batch: Tensor,
    positives: Tensor,
    negatives: Tensor | None,
    *,
    temperature: float = TEMPERATURE,
    allowed: Tensor | None = None,
    allowed_own: Tensor | None = None,
) -> Tensor:
    """InfoNCE, mean over groups and queries.

    Args:
        in_batch: ``(G, Q, D)``.
        positives: ``(Q,)``, the place of each query's own positive among the D.
        negatives: ``(G, Q, K)`` scores of each query's own negatives, or None.
        temperature: scores are divided by it.
        allowed: ``(Q, D)`` or ``(G, Q, D)``, False where an in-batch document must not count as a negative;
            the positive always counts.
        allowed_own: ``(Q, K)`` or ``(G, Q, K)``, the same for the negatives; False for padding, too.
    """
    own = torch.zeros_like(in_batch[0], dtype=torch.bool).scatter_(1, positives[:, None], True)
    logits = in_batch / temperature
    if allowed is not None:
        logits = logits.masked_fill(~(allowed | own), float("-inf"))
    if negatives is not None:
        extra = negatives / temperature
        if allowed_own is not None:
            extra = extra.masked_fill(~allowed_own.expand_as(extra), float("-inf"))
        logits = torch.cat([logits, extra], -1)
    groups = logits.shape[0]
    return cross_entropy(logits.flatten(0, 1).float(), positives.repeat(groups))


def likely_relevant(
    scores: Tensor, positive: Tensor, groups: Sequence[tuple[int, int]], margin: float = MARGIN
) -> Tensor:
    """Where a document scores so far above the positive that it is likely relevant, too.

    Args:
        scores: ``(G, Q, N)``.
        positive: ``(G, Q)``, scores of the positives.
        groups: a score is a sum over query rows, so the margin is taken for each of them.
        margin: on the scale of a cosine.

    Returns:
        ``(G, Q, N)``, True for likely false negatives. No gradient flows through it.
    """
    rows = torch.tensor([float(q) for q, _ in groups], device=scores.device)[:, None, None]
    return (scores.detach() - positive.detach()[..., None]) > margin * rows


def same_content(keys: Sequence[str], positives: Sequence[int], device: torch.device | None = None) -> Tensor:
    """``(Q, D)``, True where document j is another copy of query i's positive."""
    numbers = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    codes = torch.tensor([numbers[key] for key in keys], device=device)
    return codes[None, :] == codes[torch.tensor(list(positives), device=device)][:, None]


def distil(
    scores: Tensor,
    judged: Tensor,
    *,
    temperature: float = TEMPERATURE,
    judge_temperature: float = 0.1,
    present: Tensor | None = None,
) -> Tensor:
    """Cross-entropy from the judge's soft order to the model's, mean over groups and queries.

    Args:
        scores: ``(G, Q, N)`` of each query's own documents, the positive among them.
        judged: ``(Q, N)``, the judge's scores, 0 to 1; NaN where it gave none.
        temperature: of the model's scores.
        judge_temperature: of the judge's scores; smaller is sharper.
        present: ``(Q, N)``, False for padding.

    Returns:
        A scalar; 0 where no query has two judged documents.
    """
    known = ~torch.isnan(judged)
    if present is not None:
        known = known & present
    useful = known.sum(-1) >= 2
    if not bool(useful.any()):
        return scores.sum() * 0.0
    known, judged, scores = known[useful], judged[useful], scores[:, useful]
    wanted = torch.softmax((judged / judge_temperature).masked_fill(~known, float("-inf")), -1)
    made = log_softmax((scores / temperature).masked_fill(~known, float("-inf")).float(), -1)
    return -(wanted * made.masked_fill(~known, 0.0)).sum(-1).mean()


def pointwise(yes: Tensor, no: Tensor, relevant: Tensor) -> Tensor:
    """Cross-entropy of the answer: logits ``(N,)`` of yes and of no, and whether yes is right."""
    return cross_entropy(torch.stack([no, yes], -1).float(), relevant.long())


def listwise(places: Tensor, right: Tensor, present: Tensor | None = None) -> Tensor:
    """Cross-entropy of the right one's place: logits ``(N, M)`` of M labels, and the right index."""
    if present is not None:
        places = places.masked_fill(~present, float("-inf"))
    return cross_entropy(places.float(), right)
