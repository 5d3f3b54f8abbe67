"""Losses of the recipe, as functions of vectors and scores.

Shapes: Q queries, D documents, K documents of each query's own, r_q and r_d rows, d width, G nested groups.

* Contrast (MetaEmbed, Magic-MM-Embedding): for each nested group ``(r_q, r_d)`` the score is
  ``s = sum over the first r_q query rows of the max over the first r_d document rows``, a sum and no mean,
  and the loss of query i ``-log(exp(s_ii / t) / (sum over j of exp(s_ij / t) + sum over own negatives))``.
  The mean over groups and queries is taken. In-batch documents are shared, a query's own negatives count
  in its own row alone.
* Distillation (TTE-v2's loop, in the form of Qwen3-VL's second stage):
  ``-sum over d of softmax(judge / t_judge)_d * log softmax(s / t)_d`` over a query's own documents.
* Rank-KL (named by CORE, whose formula we have not seen; this is our reading): the same with a target of
  the judge's order alone, ``KL(mean over cutoffs k of [d among the k best] / k || softmax(s / t))``. No
  temperature of the judge to choose, and no scale: log-odds, probabilities and grades of 0 to 3 all do.
* Reranker (Magic-MM-Embedding): cross-entropy of yes and no, and of the position of the relevant one in a
  list.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

GROUPS: tuple[tuple[int, int], ...] = ((1, 1), (2, 4), (4, 8), (8, 16), (16, 64))
"""The paper's nested groups, query rows and document rows."""

TEMPERATURE = 0.03
CUTOFFS = (1, 2, 4, 8)
"""Ladder of Rank-KL: the best document is in each step, the eighth in the last alone."""

MARGIN = 0.1
"""Per query row: a document that scores this much above the positive is taken for a false negative."""


def nested_scores(queries: Tensor, documents: Tensor, groups: Sequence[tuple[int, int]]) -> Tensor:
    """Return late-interaction scores ``(G, Q, D)`` of every query with every document at each budget.

    The similarities of all rows are computed once and sliced for each group.

    Args:
        queries: ``(Q, r_q, d)``, rows of norm 1.
        documents: ``(D, r_d, d)``, rows of norm 1.
        groups: budgets, within the rows of both.

    Raises:
        ValueError: a group is beyond the rows.
    """
    return _sum_of_max(torch.einsum("qid,cjd->qcij", queries, documents), groups)  # (G, Q, D)


def own_scores(queries: Tensor, documents: Tensor, groups: Sequence[tuple[int, int]]) -> Tensor:
    """Return scores ``(G, Q, K)`` of each query with its own K documents.

    Args:
        queries: ``(Q, r_q, d)``, rows of norm 1.
        documents: ``(Q, K, r_d, d)``, rows of norm 1.
        groups: budgets, within the rows of both.

    Raises:
        ValueError: a group is beyond the rows.
    """
    return _sum_of_max(torch.einsum("qid,qkjd->qkij", queries, documents), groups)  # (G, Q, K)


def _sum_of_max(similarities: Tensor, groups: Sequence[tuple[int, int]]) -> Tensor:
    """Return ``(G, A, B)`` scores of ``(A, B, r_q, r_d)`` similarities."""
    rows = similarities.shape[-2:]
    for group in groups:
        if not (1 <= group[0] <= rows[0] and 1 <= group[1] <= rows[1]):
            raise ValueError(f"groups must be within the {tuple(rows)} rows of the vectors, got {group}.")
    return torch.stack([similarities[..., :q, :d].amax(-1).sum(-1) for q, d in groups])  # (G, A, B)


def contrast(
    in_batch: Tensor,
    positives: Tensor,
    negatives: Tensor | None,
    *,
    temperature: float = TEMPERATURE,
    allowed: Tensor | None = None,
    allowed_own: Tensor | None = None,
) -> Tensor:
    """Return the InfoNCE loss, mean over groups and queries.

    Args:
        in_batch: ``(G, Q, D)`` scores.
        positives: ``(Q,)``, the position of each query's positive among the D.
        negatives: ``(G, Q, K)`` scores of each query's own negatives, or None.
        temperature: divides the scores.
        allowed: ``(Q, D)`` or ``(G, Q, D)``, False for in-batch documents that must not count as negatives;
            the positive always counts.
        allowed_own: ``(Q, K)`` or ``(G, Q, K)``, False for padding and for negatives that must not count.
    """
    positive = torch.zeros_like(in_batch[0], dtype=torch.bool).scatter_(1, positives[:, None], True)  # (Q, D)
    logits = in_batch / temperature  # (G, Q, D)
    if allowed is not None:
        logits = logits.masked_fill(~(allowed | positive), float("-inf"))  # (G, Q, D)
    if negatives is not None:
        extra = negatives / temperature  # (G, Q, K)
        if allowed_own is not None:
            extra = extra.masked_fill(~allowed_own.expand_as(extra), float("-inf"))  # (G, Q, K)
        logits = torch.cat([logits, extra], -1)  # (G, Q, D + K)
    return cross_entropy(logits.flatten(0, 1).float(), positives.repeat(len(logits)))  # ()


def likely_relevant(
    scores: Tensor, positive: Tensor, groups: Sequence[tuple[int, int]], margin: float = MARGIN
) -> Tensor:
    """Find documents that score so far above the positive that they are likely relevant, too.

    No gradient flows through it.

    Args:
        scores: ``(G, Q, N)``.
        positive: ``(G, Q)``, scores of the positives.
        groups: a score is a sum over query rows, so the margin is multiplied by their number.
        margin: on the scale of a cosine.

    Returns:
        ``(G, Q, N)``, True for likely false negatives.
    """
    rows = torch.tensor([float(q) for q, _ in groups], device=scores.device)[:, None, None]  # (G, 1, 1)
    return (scores.detach() - positive.detach()[..., None]) > margin * rows  # (G, Q, N)


def distil(
    scores: Tensor,
    judge_scores: Tensor,
    *,
    temperature: float = TEMPERATURE,
    judge_temperature: float = 0.1,
) -> Tensor:
    """Return the cross-entropy from the judge's soft ranking to the model's, mean over groups and queries.

    Args:
        scores: ``(G, Q, N)`` of each query's own documents, the positive among them.
        judge_scores: ``(Q, N)``, NaN for documents without a judge's score and for padding.
        temperature: divides the model's scores.
        judge_temperature: divides the judge's scores; smaller is sharper.

    Returns:
        A scalar; 0 if no query has two documents with a judge's score.
    """
    has_score = ~torch.isnan(judge_scores)  # (Q, N)
    useful = has_score.sum(-1) >= 2  # (Q,)
    if not bool(useful.any()):
        return scores.sum() * 0.0
    no_score = ~has_score[useful]  # (U, N), U useful queries
    logits = judge_scores[useful] / judge_temperature  # (U, N)
    target = torch.softmax(logits.masked_fill(no_score, float("-inf")), -1)  # (U, N)
    logits = (scores[:, useful] / temperature).masked_fill(no_score, float("-inf"))  # (G, U, N)
    log_probabilities = log_softmax(logits.float(), -1)  # (G, U, N)
    return -(target * log_probabilities.masked_fill(no_score, 0.0)).sum(-1).mean()  # ()


def rank_kl(
    scores: Tensor,
    judge_scores: Tensor,
    *,
    temperature: float = TEMPERATURE,
    cutoffs: Sequence[int] = CUTOFFS,
) -> Tensor:
    """Return the divergence of the model's list from the judge's graded one, mean over groups and queries.

    The target of a query is `graded_target`; 0 is reached where the model's softmax equals it.

    Args:
        scores: ``(G, Q, N)`` of each query's own documents, the positive among them.
        judge_scores: ``(Q, N)``, NaN for documents without a judge's score and for padding.
        temperature: divides the model's scores.
        cutoffs: the ladder, each at least 1.

    Returns:
        A scalar of at least 0; 0 if no query has documents of two grades and a cutoff between them.
    """
    target = graded_target(judge_scores, cutoffs)  # (Q, N)
    useful = target.any(-1)  # (Q,)
    if not bool(useful.any()):
        return scores.sum() * 0.0
    target, no_score = target[useful], torch.isnan(judge_scores[useful])  # (U, N), U useful queries
    logits = (scores[:, useful] / temperature).masked_fill(no_score, float("-inf"))  # (G, U, N)
    log_probabilities = log_softmax(logits.float(), -1).masked_fill(no_score, 0.0)  # (G, U, N)
    return (torch.xlogy(target, target) - target * log_probabilities).sum(-1).mean()  # ()


def graded_target(judge_scores: Tensor, cutoffs: Sequence[int] = CUTOFFS) -> Tensor:
    """Return the shares ``(Q, N)`` that a judge's order gives to documents: sum 1 a query, or all 0.

    Each cutoff k gives 1 / k to each of the k best; the mean is taken over those below the number of
    judged documents, since all of them in any order say nothing. Documents of one grade (equal scores) share
    what their places get. A query without an order, because it has one grade or no cutoff, has 0 everywhere.

    Args:
        judge_scores: ``(Q, N)``, NaN for documents without a judge's score.
        cutoffs: the ladder, each at least 1.
    """
    is_better = judge_scores[:, None, :] > judge_scores[:, :, None]  # (Q, N, N), False beside NaN
    is_equal = judge_scores[:, None, :] == judge_scores[:, :, None]  # (Q, N, N)
    above = is_better.sum(-1)  # (Q, N), better documents
    level = is_equal.sum(-1)  # (Q, N), documents of the same grade, the document itself among them
    ladder = torch.tensor(list(cutoffs), dtype=torch.float32, device=judge_scores.device)  # (L,)
    length = (~torch.isnan(judge_scores)).sum(-1, keepdim=True)  # (Q, 1)
    has_order = is_better.any(-1).any(-1, keepdim=True)  # (Q, 1)
    counts = (ladder < length) & has_order  # (Q, L)

    def share_of_best(number: Tensor) -> Tensor:
        """Return the share ``(Q, N)`` that the best `number` documents get together."""
        shares = (number[..., None] / ladder).clamp(max=1.0) * counts[:, None, :]  # (Q, N, L)
        return shares.sum(-1) / counts.sum(-1, keepdim=True).clamp(min=1)  # (Q, N)

    return (share_of_best(above + level) - share_of_best(above)) / level.clamp(min=1)  # (Q, N)


def pointwise(yes: Tensor, no: Tensor, relevant: Tensor) -> Tensor:
    """Return the cross-entropy of answers.

    Args:
        yes: ``(N,)`` logits.
        no: ``(N,)`` logits.
        relevant: ``(N,)``, True where yes is right.
    """
    return cross_entropy(torch.stack([no, yes], -1).float(), relevant.long())  # ()


def listwise(logits: Tensor, relevant: Tensor, present: Tensor | None = None) -> Tensor:
    """Return the cross-entropy of the relevant one's position in a list.

    Args:
        logits: ``(N, M)`` of the labels of M positions.
        relevant: ``(N,)`` positions.
        present: ``(N, M)``, False for padding.
    """
    if present is not None:
        logits = logits.masked_fill(~present, float("-inf"))  # (N, M)
    return cross_entropy(logits.float(), relevant)  # ()
