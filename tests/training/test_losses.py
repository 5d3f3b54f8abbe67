"""Laws of the losses: a case worked by hand, then an implementation in loops that shares nothing."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mmrag.training import losses  # noqa: E402

ALL = losses.GROUPS


def unit(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(
        torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1
    )


def score_in_loops(query: torch.Tensor, document: torch.Tensor, group: tuple[int, int]) -> float:
    return sum(max(float(query[i] @ document[j]) for j in range(group[1])) for i in range(group[0]))


def loss_in_loops(queries, documents, positives, negatives, groups, temperature, allowed) -> float:
    each = []
    for group in groups:
        for i, query in enumerate(queries):
            terms = [
                (score_in_loops(query, document, group) / temperature, j)
                for j, document in enumerate(documents)
                if allowed[i][j] or j == positives[i]
            ]
            right = next(value for value, j in terms if j == positives[i])
            values = [value for value, _ in terms]
            values += [score_in_loops(query, negative, group) / temperature for negative in negatives[i]]
            most = max(values)
            total = most + math.log(sum(math.exp(value - most) for value in values))
            each.append(total - right)
    return sum(each) / len(each)


def test_a_score_by_hand() -> None:
    query = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    document = torch.tensor([[[0.6, 0.8], [1.0, 0.0]]])
    scores = losses.nested_scores(query, document, [(1, 1), (2, 1), (2, 2)])
    # (1,1): 0.6; (2,1): 0.6 + 0.8; (2,2): max(0.6, 1) + max(0.8, 0)
    assert scores.flatten().tolist() == pytest.approx([0.6, 1.4, 1.8])


def test_a_loss_by_hand() -> None:
    # one query, its positive scores 1, one other scores 0, temperature 1: log(e + 1) - 1
    loss = losses.contrast(torch.tensor([[[1.0, 0.0]]]), torch.tensor([0]), None, temperature=1.0)
    assert loss.item() == pytest.approx(math.log(math.e + 1) - 1)


def test_equal_scores_cost_the_logarithm_of_their_number() -> None:
    loss = losses.contrast(torch.zeros(5, 3, 7), torch.tensor([0, 1, 2]), torch.zeros(5, 3, 4))
    assert loss.item() == pytest.approx(math.log(11))


@pytest.mark.parametrize("seed", range(3))
def test_equals_an_implementation_in_loops(seed: int) -> None:
    queries, documents = unit(3, 16, 8, seed=seed), unit(5, 64, 8, seed=seed + 10)
    negatives = unit(3, 2, 64, 8, seed=seed + 20)
    positives = [4, 0, 2]
    allowed = torch.rand(3, 5, generator=torch.Generator().manual_seed(seed)) > 0.3
    made = losses.contrast(
        losses.nested_scores(queries, documents, ALL),
        torch.tensor(positives),
        losses.own_scores(queries, negatives, ALL),
        temperature=0.5,
        allowed=allowed,
    )
    wanted = loss_in_loops(queries, documents, positives, negatives, ALL, 0.5, allowed.tolist())
    assert made.item() == pytest.approx(wanted, rel=1e-6)


def test_a_negative_counts_in_its_own_row_alone() -> None:
    in_batch, positives = torch.zeros(1, 2, 2), torch.tensor([0, 1])
    calm = losses.contrast(in_batch, positives, torch.tensor([[[0.0], [0.0]]]), temperature=1.0)
    loud = losses.contrast(in_batch, positives, torch.tensor([[[5.0], [0.0]]]), temperature=1.0)
    # only the first of the two queries feels it: half of log(2 + e^5) - log(3)
    assert (loud - calm).item() == pytest.approx((math.log(2 + math.exp(5)) - math.log(3)) / 2, rel=1e-5)


def test_the_positive_counts_even_where_it_is_not_allowed() -> None:
    nothing = torch.zeros(1, 1, dtype=torch.bool)
    loss = losses.contrast(torch.zeros(1, 1, 1), torch.tensor([0]), None, allowed=nothing)
    assert loss.item() == 0.0


def test_false_negatives_are_those_above_the_positive_by_the_margin_per_query_row() -> None:
    groups = [(1, 1), (4, 8)]
    scores = torch.tensor([[[0.65, 0.55, 0.3]], [[2.5, 2.3, 0.0]]])
    positive = torch.tensor([[0.5], [2.0]])
    found = losses.likely_relevant(scores, positive, groups)
    assert found.tolist() == [[[True, False, False]], [[True, False, False]]]
    assert not found.requires_grad


def test_distillation_is_least_where_the_orders_agree() -> None:
    judged = torch.tensor([[0.9, 0.5, 0.1]])
    agree = losses.distil(torch.tensor([[[0.9, 0.5, 0.1]]]), judged, temperature=0.1, judge_temperature=0.1)
    oppose = losses.distil(torch.tensor([[[0.1, 0.5, 0.9]]]), judged, temperature=0.1, judge_temperature=0.1)
    wanted = torch.softmax(judged / 0.1, -1)
    assert agree.item() == pytest.approx(-(wanted * wanted.log()).sum().item(), rel=1e-5)  # its own entropy
    assert oppose > agree + 1


def test_distillation_ignores_what_was_not_judged() -> None:
    nan = float("nan")
    judged = torch.tensor([[0.9, nan, 0.1], [0.9, nan, nan]])
    scores = torch.tensor([[[0.2, 9.0, 0.1], [0.3, 9.0, 9.0]]], requires_grad=True)
    loss = losses.distil(scores, judged)
    alone = losses.distil(torch.tensor([[[0.2, 0.1]]]), torch.tensor([[0.9, 0.1]]))
    assert loss.item() == pytest.approx(alone.item())
    loss.backward()
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()
    assert scores.grad[0, :, 1].abs().sum() == 0
    nothing = losses.distil(scores, torch.full((2, 3), nan))
    assert nothing.item() == 0.0


def target_in_loops(judged: np.ndarray, cutoffs: tuple[int, ...]) -> np.ndarray:
    """Target of one query's judged documents: the mean over all orders of equal grades, written out."""
    steps = [k for k in cutoffs if k < len(judged)]
    if not steps or np.ptp(judged) == 0:
        return np.zeros(len(judged))
    orders = [
        order
        for order in itertools.permutations(range(len(judged)))
        if all(judged[one] >= judged[other] for one, other in itertools.pairwise(order))
    ]
    target = np.zeros(len(judged))
    for order in orders:
        for k in steps:
            target[list(order[:k])] += 1 / k / len(steps) / len(orders)
    return target


def test_a_graded_target_by_hand() -> None:
    target = losses.graded_target(torch.tensor([[3.0, 9.0, 1.0, 2.0]]), [1, 2, 4, 8])
    # four documents, so the steps are 1 and 2: the best has (1 + 1/2) / 2, the second (0 + 1/2) / 2
    assert target.tolist() == [[0.25, 0.75, 0.0, 0.0]]
    target = losses.graded_target(torch.tensor([[2.0, 2.0, 1.0, 0.0]]), [1, 2])
    assert target.tolist() == [[0.5, 0.5, 0.0, 0.0]]  # of one grade: they share both places


def test_rank_kl_by_hand() -> None:
    # three documents, one step: all of the target on the best; logits 1, 0, 0
    loss = losses.rank_kl(
        torch.tensor([[[1.0, 0.0, 0.0]]]), torch.tensor([[5.0, 4.0, 3.0]]), temperature=1.0, cutoffs=[1]
    )
    assert loss.item() == pytest.approx(math.log(math.e + 2) - 1)


@pytest.mark.parametrize("seed", range(4))
def test_rank_kl_equals_all_orders_written_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    judged = rng.integers(0, 4, (5, 6)).astype(float)  # grades, so that some are equal
    judged[rng.random((5, 6)) < 0.25] = math.nan
    judged[0] = 2.0  # one grade: no order
    scores = rng.normal(size=(3, 5, 6))
    terms = []
    for query in range(5):
        there = ~np.isnan(judged[query])
        target = target_in_loops(judged[query][there], losses.CUTOFFS)
        if not target.any():
            continue
        for group in range(3):
            logits = scores[group, query][there] / 0.5
            log_model = logits - np.log(np.exp(logits).sum())
            terms.append(sum(t * (math.log(t) - m) for t, m in zip(target, log_model, strict=True) if t))
    made = losses.rank_kl(torch.tensor(scores), torch.tensor(judged), temperature=0.5)
    assert made.item() == pytest.approx(np.mean(terms), rel=1e-5)


def test_a_graded_target_is_of_the_order_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    judged = torch.randn(20, 9, generator=generator)
    target = losses.graded_target(judged)
    assert target.sum(-1).tolist() == pytest.approx([1.0] * 20)
    assert torch.equal(target, losses.graded_target(judged.exp() * 7))  # any increasing function
    assert torch.equal(target.argmax(-1), judged.argmax(-1))
    assert (target > 0).sum(-1).tolist() == [8] * 20  # the last step is 8


def test_rank_kl_is_0_where_the_model_has_the_target_and_has_no_gradient_where_nothing_was_judged() -> None:
    nan = float("nan")
    judged = torch.tensor([[3.0, nan, 2.0, 1.0], [1.0, nan, nan, nan], [1.0, 1.0, 1.0, nan]])
    target = losses.graded_target(judged, [1, 2])
    assert target[1:].abs().sum() == 0  # one document, one grade: no order
    scores = torch.zeros(1, 3, 4)
    scores[0, 0] = torch.log(target[0] + 1e-12)
    scores.requires_grad_()
    loss = losses.rank_kl(scores, judged, temperature=1.0, cutoffs=[1, 2])
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    loss.backward()
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()
    assert scores.grad[0, :, 1].abs().sum() + scores.grad[0, 1:].abs().sum() == 0
    assert losses.rank_kl(scores, torch.full((3, 4), nan)).item() == 0.0


def test_pointwise_and_listwise_by_hand() -> None:
    two = losses.pointwise(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0]), torch.tensor([True, True]))
    right, wrong = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    assert two.item() == pytest.approx((right + wrong) / 2, rel=1e-5)
    places = torch.tensor([[1.0, 0.0, 99.0]])
    loss = losses.listwise(places, torch.tensor([0]), torch.tensor([[True, True, False]]))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-5)


def test_a_group_beyond_the_rows_is_refused() -> None:
    with pytest.raises(ValueError, match=r"groups must be within the \(2, 4\) rows .* got \(4, 8\)"):
        losses.nested_scores(unit(1, 2, 3, seed=0), unit(1, 4, 3, seed=1), [(4, 8)])
