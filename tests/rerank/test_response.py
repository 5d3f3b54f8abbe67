"""Laws of what is read from a reply: recorded real ones are read, everything else is refused."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import pytest

from mmrag.errors import ServerAnswerError
from mmrag.rerank.response import (
    Order,
    Thought,
    opens_thought,
    read_boxes,
    read_context,
    read_likelihood,
    read_order,
    read_relevance,
    read_score,
    read_served_context,
    read_thought,
    read_tokens,
    read_yes_no,
    sigmoid,
)

RECORDED = Path(__file__).with_name("recorded")


def recorded(name: str) -> dict:
    return json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))


def chat(content: str | None, finish: str = "stop", **message: object) -> dict:
    return {"choices": [{"message": {"content": content, **message}, "finish_reason": finish}]}


def answer(*pairs: tuple[str, object]) -> dict:
    listed = [{"token": token, "logprob": value} for token, value in pairs]
    return {"choices": [{"logprobs": {"content": [{"token": "x", "top_logprobs": listed}]}}]}


# ---------------------------------------------------------------------------------- recorded replies


@pytest.mark.parametrize("name", ["yes_no", "thinking_yes_no"])
def test_a_recorded_answer_gives_the_sigmoid_of_the_difference(name: str) -> None:
    reply = recorded(name)
    found = {e["token"]: e["logprob"] for e in reply["choices"][0]["logprobs"]["content"][0]["top_logprobs"]}
    # The sampled token stands first, then the two that were asked for.
    (_, _), (yes, log_yes), (no, log_no) = list(found.items())[:3]
    ids = [int(token.removeprefix("token_id:")) for token in (yes, no)]
    expected = math.exp(log_yes) / (math.exp(log_yes) + math.exp(log_no))
    assert read_yes_no(reply, ids[:1], ids[1:]) == pytest.approx(expected, abs=1e-12)
    assert read_yes_no(reply, ids[1:], ids[:1]) == pytest.approx(1 - expected, abs=1e-12)


def test_a_recorded_thought_is_read_from_the_content_or_from_its_own_field() -> None:
    thought, own_field = recorded("thought"), recorded("thinking_thought")
    assert thought["choices"][0]["message"]["reasoning"] is None
    assert own_field["choices"][0]["message"]["content"] is None
    for reply in (thought, own_field):
        message = reply["choices"][0]["message"]
        read = read_thought(reply)
        assert read.cut
        assert read.text
        assert (message["content"] or message["reasoning"]).strip().startswith(read.text)


@pytest.mark.parametrize("name", ["order", "thinking_order"])
def test_a_recorded_order_is_a_permutation(name: str) -> None:
    reply = recorded(name)
    order = read_order(reply, 3)
    assert sorted(order.positions) == [0, 1, 2]
    assert order.positions[0] == int(reply["choices"][0]["message"]["content"][1]) - 1


def test_recorded_tokens_tell_the_context_and_whether_a_thought_is_open() -> None:
    plain, thinking = recorded("generate_tokenize"), recorded("thinking_tokenize")
    assert read_tokens(plain) == plain["tokens"]
    assert read_context(plain) == plain["max_model_len"] == 4096
    assert not opens_thought(plain)
    assert opens_thought(thinking)


def test_a_recorded_likelihood_is_the_sum_over_the_last_tokens() -> None:
    reply = recorded("likelihood")
    listed = reply["choices"][0]["prompt_logprobs"]
    ids = [int(next(iter(entry))) for entry in listed[-3:]]
    by_hand = sum(entry[str(token)]["logprob"] for entry, token in zip(listed[-3:], ids, strict=True))
    assert read_likelihood(reply, ids) == pytest.approx(by_hand)


def test_recorded_relevance_comes_back_in_the_order_sent() -> None:
    reply = recorded("rerank")
    scores = read_relevance(reply, 3)
    assert {r["index"]: r["relevance_score"] for r in reply["results"]} == dict(enumerate(scores))
    assert [r["index"] for r in reply["results"]] != [
        0,
        1,
        2,
    ]  # vLLM sorts by score: the order is ours to keep


# ------------------------------------------------------------------------------------------- yes, no


def test_yes_no_by_hand() -> None:
    assert read_yes_no(answer(("token_id:1", math.log(0.3)), ("token_id:2", math.log(0.1))), [1], [2]) == (
        pytest.approx(0.75)
    )
    several = answer(
        ("token_id:1", math.log(0.2)), ("token_id:3", math.log(0.1)), ("token_id:2", math.log(0.1))
    )
    assert read_yes_no(several, [1, 3], [2]) == pytest.approx(0.75)


def test_a_token_without_any_chance_is_no_fault_of_the_other() -> None:
    assert read_yes_no(answer(("token_id:1", -9999.0), ("token_id:2", -0.1)), [1], [2]) == 0.0
    with pytest.raises(ServerAnswerError, match="it leaves none"):
        read_yes_no(answer(("token_id:1", -9999.0), ("token_id:2", -9999.0)), [1], [2])


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ({}, "must have choices"),
        ({"choices": []}, "must have choices"),
        ({"choices": [{}]}, "must carry log-probabilities"),
        ({"choices": [{"logprobs": None}]}, "must carry log-probabilities"),
        ({"choices": [{"logprobs": {"content": []}}]}, "must carry log-probabilities"),
        (answer(("token_id:1", -1.0)), "log-probability of token 2 .*vLLM 0.32"),
        (answer(("yes", -1.0), ("no", -1.0)), "log-probability of token 1"),
        (answer(("token_id:1", math.nan), ("token_id:2", -1.0)), "must be a number, got nan"),
        (answer(("token_id:1", True), ("token_id:2", -1.0)), "must be a number, got True"),
    ],
)
def test_an_answer_without_both_log_probabilities_is_refused(reply: dict, why: str) -> None:
    with pytest.raises(ServerAnswerError, match=why):
        read_yes_no(reply, [1], [2])


def test_sigmoid_of_anything_is_a_probability() -> None:
    assert sigmoid(0.0) == 0.5
    assert (sigmoid(1e4), sigmoid(-1e4)) == (1.0, 0.0)


# ------------------------------------------------------------------------------------------- thought


def test_a_thought_that_ends_by_itself_is_whole() -> None:
    assert read_thought(chat("<think>\nThe page has it.")) == Thought("The page has it.")
    assert read_thought(chat("It has. </think> yes")) == Thought("It has.")
    assert read_thought(chat("yes", reasoning="It has")) == Thought("It has")
    assert read_thought(chat(None, reasoning_content="It has")) == Thought("It has")
    assert read_thought(chat("")) == Thought("")


def test_an_overrun_thought_is_closed_after_its_last_sentence() -> None:
    assert read_thought(chat("It is 3.5 m. It says so. But the", "length")) == Thought(
        "It is 3.5 m. It says so.", cut=True
    )
    assert read_thought(chat("ページにある。しかし", "length")) == Thought("ページにある。", cut=True)
    assert read_thought(chat("no end in sight 3.5", "length")) == Thought("no end in sight 3.5", cut=True)
    # What overran was the answer behind the thought, not the thought.
    assert read_thought(chat("It is. So</think> yes and", "length")) == Thought("It is. So")
    assert read_thought(chat("yes and", "length", reasoning="It is. So")) == Thought("It is. So")


def test_a_thought_that_ended_for_another_reason_is_refused() -> None:
    with pytest.raises(ServerAnswerError, match="got 'content_filter'"):
        read_thought(chat("x", "content_filter"))
    with pytest.raises(ServerAnswerError, match=r"choices\[0\]"):
        read_thought({"choices": []})


def test_boxes_are_read_strictly() -> None:
    said = (
        'Here {"bbox_2d": [100, 200, 300, 400]} and {"bbox_2d": [0,0,1000,1000.0]}, not '
        '"bbox_2d": [1, 2, 3], '
        '"bbox_2d": [300, 0, 100, 9], "bbox_2d": [0, 0, 1001, 9], "bbox_2d": [a, b, c, d] or [1, 2, 3, 4].'
    )
    assert read_boxes(said) == ((0.1, 0.2, 0.3, 0.4), (0.0, 0.0, 1.0, 1.0))


# --------------------------------------------------------------------------------------------- order


@pytest.mark.parametrize(
    ("said", "order"),
    [
        ("[2] > [3] > [1]", Order((1, 2, 0))),
        ("[1]>[2]>[3]", Order((0, 1, 2))),
        ("The best is [1]. My ranking: [3] > [1] > [2].", Order((2, 0, 1))),
        ("[3]", Order((2, 0, 1), absent=frozenset({0, 1}))),
        ("[2] > [2] > [9] > [0] > [1]", Order((1, 0, 2), frozenset({2}), repeats=1, unknown=2)),
        ("<think>[1] > [2] > [3]</think>[3] > [2]", Order((2, 1, 0), absent=frozenset({0}))),
    ],
)
def test_an_order_is_read_from_its_chain(said: str, order: Order) -> None:
    assert read_order(chat(said), 3) == order


def test_digits_in_the_thought_do_not_rank() -> None:
    order = read_order(chat("[2] > [1]", reasoning="[1] > [2] > [3] at first sight"), 2)
    assert order.positions == (1, 0)


@pytest.mark.parametrize("said", ["", "2, 3, 1", "I cannot rank these pages.", "[7] > [8]", "[a] > [b]"])
def test_an_answer_without_a_valid_number_is_refused(said: str) -> None:
    with pytest.raises(ServerAnswerError, match=r"at least one of \[1\] to \[3\]"):
        read_order(chat(said, reasoning="[1] > [2] > [3]"), 3)


# ------------------------------------------------------------------------------------------- numbers


def test_a_likelihood_of_other_tokens_is_refused() -> None:
    reply = recorded("likelihood")
    ids = [int(next(iter(entry))) for entry in reply["choices"][0]["prompt_logprobs"][-2:]]
    with pytest.raises(ServerAnswerError, match="prompt token"):
        read_likelihood(reply, ids[::-1] if ids[0] != ids[1] else [ids[0] + 1, ids[1]])
    with pytest.raises(ServerAnswerError, match="must carry prompt_logprobs"):
        read_likelihood(reply, ids * 20)
    broken = copy.deepcopy(reply)
    broken["choices"][0]["prompt_logprobs"][-1][str(ids[-1])]["logprob"] = math.nan
    with pytest.raises(ServerAnswerError, match="got nan"):
        read_likelihood(broken, ids)
    for reply in ({}, {"choices": []}, {"choices": [{"prompt_logprobs": None}]}):
        with pytest.raises(ServerAnswerError, match="must carry prompt_logprobs"):
            read_likelihood(reply, [1])


@pytest.mark.parametrize(
    "results",
    [
        None,
        [],
        [{"index": 0, "relevance_score": 1.0}],
        [{"index": 0, "relevance_score": 1.0}, {"index": 2, "relevance_score": 1.0}],
        [{"index": 0, "relevance_score": 1.0}, {"index": 1, "relevance_score": math.nan}],
        [{"index": 0, "relevance_score": 1.0}, {"index": 1}],
        ["x", "y"],
    ],
)
def test_relevance_of_anything_but_all_documents_is_refused(results: object) -> None:
    with pytest.raises(
        ServerAnswerError, match=r"must score documents 0 to 1|relevance_score must be a number"
    ):
        read_relevance({"results": results}, 2)


@pytest.mark.parametrize("data", [None, [], [{"score": math.inf}], [{}], [{"score": 1.0}, {"score": 1.0}]])
def test_a_score_that_is_not_just_one_number_is_refused(data: object) -> None:
    assert read_score({"data": [{"index": 0, "score": 0.25}]}) == 0.25
    with pytest.raises(ServerAnswerError, match="must answer with one score"):
        read_score({"data": data})


def test_the_context_of_a_served_model_is_known_where_it_is_told() -> None:
    assert read_served_context({"data": [{"id": "a", "max_model_len": 4096}, {"id": "b"}]}) == 4096
    assert read_served_context({"data": [{"id": "a"}]}) is None
    assert read_served_context({}) is None


@pytest.mark.parametrize("reply", [{}, {"tokens": "x"}, {"tokens": [1, "2"]}, {"tokens": [True]}])
def test_tokens_that_are_none_are_refused(reply: dict) -> None:
    with pytest.raises(ServerAnswerError, match="list of token ids"):
        read_tokens(reply)
    with pytest.raises(ServerAnswerError, match="max_model_len"):
        read_context(reply)
    with pytest.raises(ServerAnswerError, match="token_strs"):
        opens_thought(reply)
