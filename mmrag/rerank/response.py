"""Replies of a server as pure functions: a reply in, a number or a text out, or a `ServerAnswerError`.

Nothing is guessed or repaired: a reply without the requested part is refused. The message quotes the reply;
`mmrag.serving.requests` puts the URL before it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from mmrag.errors import ServerAnswerError
from mmrag.serving.chat import END_OF_THOUGHT
from mmrag.serving.client import Json, parse_chat
from mmrag.serving.wire import quote
from mmrag.types import Box

NOT_SEEN = -9999.0
"""vLLM's number for a log-probability of minus infinity."""

BOX_SCALE = 1000.0  # Qwen3-VL gives coordinates in thousandths of the picture

_CHAIN = re.compile(r"\[\d{1,9}\](?:\s*>\s*\[\d{1,9}\])*")
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|[。！？\n]")  # noqa: RUF001
_BOX = re.compile(r'"bbox(?:_2d)?"\s*:\s*\[([^\[\]]*)\]')


@dataclass(frozen=True, slots=True)
class Thought:
    """The thought of a model before its answer.

    Attributes:
        text: without its tags.
        cut: whether it ran over its tokens and was closed after its last whole sentence.
    """

    text: str
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """An order of pages 1..count.

    Attributes:
        positions: 0-based, best first, each once; those that the answer does not name come last.
        absent: positions that the answer does not name.
        repeats: how often it names one again.
        unknown: how many of its numbers are no page.
    """

    positions: tuple[int, ...]
    absent: frozenset[int] = frozenset()
    repeats: int = 0
    unknown: int = 0


def read_thought(reply: Json) -> Thought:
    """Return the thought of a chat reply, from its own field or from before its end tag.

    Raises:
        ServerAnswerError: no chat reply, or it neither ended nor ran out of tokens.
    """
    chat = parse_chat(reply)
    if chat.finish_reason not in ("stop", "length"):
        raise _refusal(f"a thought must end with 'stop' or 'length', got {chat.finish_reason!r}", reply)
    text = (chat.thought or chat.content.split(END_OF_THOUGHT)[0]).strip().removeprefix("<think>").strip()
    # An answer behind the thought has used up tokens too; then the thought itself is whole.
    whole = bool(chat.thought and chat.content) or END_OF_THOUGHT in chat.content
    if chat.finish_reason == "stop" or whole:
        return Thought(text)
    ends = [end.end() for end in _SENTENCE_END.finditer(text)]
    return Thought(text[: ends[-1]].strip() if ends else text, cut=True)


def read_yes_no(reply: Json, yes: Sequence[int], no: Sequence[int]) -> float:
    """Return ``p(yes) / (p(yes) + p(no))`` at the first token of a chat reply, summed over each side's ids.

    With one id per side this is ``sigmoid(logit_yes - logit_no)``: a log-probability is a logit minus what
    is the same for all tokens.

    Raises:
        ServerAnswerError: a token has no log-probability, or one that is not a finite number.
    """
    logprobs = _first_logprobs(reply)
    log_yes, log_no = (_log_sum([_logprob(logprobs, id, reply) for id in ids]) for ids in (yes, no))
    if max(log_yes, log_no) <= NOT_SEEN:
        raise _refusal("a yes/no answer must leave a chance to 'yes' or 'no', it leaves none", reply)
    return sigmoid(log_yes - log_no)


@dataclass(frozen=True, slots=True)
class Choice:
    """How likely each of several letters is as the first token of an answer.

    Attributes:
        logprobs: natural, normalised over the letters; a letter without one is a nat below the least likely.
        absent: how many letters have none.
        mass: probability that the first token is one of the letters, 0..1.
    """

    logprobs: tuple[float, ...]
    absent: int
    mass: float


def read_choice(reply: Json, ids: Sequence[int]) -> Choice:
    """Return how likely the tokens `ids` are as the first token of a chat reply.

    Raises:
        ServerAnswerError: none has a log-probability, or one has none that is a finite number.
    """
    logprobs = _first_logprobs(reply)
    values = [logprobs.get(f"token_id:{id}") for id in ids]
    numbers = [
        None
        if value is None
        else _number(value, f"the log-probability of token {id} must be a number", reply)
        for id, value in zip(ids, values, strict=True)
    ]
    seen_values = [number for number in numbers if number is not None and number > NOT_SEEN]
    if not seen_values:
        raise _refusal(
            "an answer must carry the log-probability of at least one letter "
            "(logprob_token_ids, vLLM 0.32 or newer)",
            reply,
        )
    total, floor = _log_sum(seen_values), min(seen_values) - 1.0
    scores = (floor if number is None or number <= NOT_SEEN else number for number in numbers)
    absent = len(ids) - len(seen_values)
    return Choice(tuple(score - total for score in scores), absent, min(1.0, math.exp(total)))


def _first_logprobs(reply: Json) -> dict[object, object]:
    """Return the log-probabilities at the first token of a chat reply, by name of the token."""
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise _refusal("a chat answer must have choices[0]", reply)
    logprobs = choices[0].get("logprobs")
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    first = tokens[0] if isinstance(tokens, list) and tokens else None
    entries = first.get("top_logprobs") if isinstance(first, dict) else None
    if not isinstance(entries, list):
        raise _refusal("an answer must carry log-probabilities (logprobs.content[0].top_logprobs)", reply)
    return {entry.get("token"): entry.get("logprob") for entry in entries if isinstance(entry, dict)}


def _logprob(logprobs: dict[object, object], token: int, reply: Json) -> float:
    value = logprobs.get(f"token_id:{token}")
    if value is None:
        raise _refusal(
            f"a yes/no answer must carry the log-probability of token {token} "
            "(logprob_token_ids, vLLM 0.32 or newer)",
            reply,
        )
    return _number(value, f"the log-probability of token {token} must be a number", reply)


def _number(value: object, rule: str, reply: Json) -> float:
    """Return `value` as a float if it is a finite number.

    Raises:
        ServerAnswerError: it is not; the message begins with `rule`.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _refusal(f"{rule}, got {value!r}", reply)
    return float(value)


def _log_sum(values: Sequence[float]) -> float:
    most = max(values)
    return most + math.log(math.fsum(math.exp(value - most) for value in values))


def sigmoid(x: float) -> float:
    """Return ``1 / (1 + exp(-x))`` without overflow."""
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    return math.exp(x) / (1.0 + math.exp(x))


def read_order(reply: Json, count: int) -> Order:
    """Return the order in a chat reply: its longest chain ``[2] > [1] > ...``, the last of several as long.

    Chains inside the thought do not count. Pages that the answer does not name follow in prior order.

    Raises:
        ServerAnswerError: no chat reply, one that was cut off before any number, or no valid number.
    """
    chat = parse_chat(reply)
    answer = chat.content.rsplit(END_OF_THOUGHT, 1)[-1]
    numbers = _longest_chain(answer)
    valid = [number - 1 for number in numbers if 1 <= number <= count]
    if not valid:
        raise _refusal(f"a ranking must name at least one of [1] to [{count}], got {quote(answer)}", reply)
    once = tuple(dict.fromkeys(valid))
    absent = tuple(position for position in range(count) if position not in once)
    return Order(once + absent, frozenset(absent), len(valid) - len(once), len(numbers) - len(valid))


def _longest_chain(answer: str) -> list[int]:
    longest: list[int] = []
    for chain in _CHAIN.findall(answer):
        numbers = [int(number) for number in re.findall(r"\d+", chain)]
        longest = numbers if len(numbers) >= len(longest) else longest
    return longest


def read_tokens(reply: Json) -> list[int]:
    """Return the token ids in the answer of ``/tokenize``.

    Raises:
        ServerAnswerError: there is no list of them.
    """
    tokens = reply.get("tokens")
    if not isinstance(tokens, list) or not all(
        isinstance(t, int) and not isinstance(t, bool) for t in tokens
    ):
        raise _refusal("/tokenize must answer with a list of token ids", reply)
    return tokens


def read_context(reply: Json) -> int:
    """Return ``max_model_len`` in the answer of ``/tokenize``: tokens that prompt and answer share.

    Raises:
        ServerAnswerError: it is missing.
    """
    value = reply.get("max_model_len")
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _refusal("/tokenize must tell max_model_len", reply)
    return value


def opens_thought(reply: Json) -> bool:
    """Return whether the prompt in the answer of ``/tokenize`` ends in an open thought.

    The templates of some thinking models open one by themselves.

    Raises:
        ServerAnswerError: the texts of the tokens are missing.
    """
    words = reply.get("token_strs")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise _refusal("/tokenize must answer with token_strs", reply)
    end = "".join(words[-16:])
    return end.rfind("<think>") > end.rfind(END_OF_THOUGHT)


def read_likelihood(reply: Json, ids: Sequence[int]) -> float:
    """Return the sum of the log-probabilities of a prompt's last tokens, which must be `ids`.

    Raises:
        ServerAnswerError: one of them is missing or not a finite number.
    """
    choices = reply.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    entries = first.get("prompt_logprobs") if isinstance(first, dict) else None
    if not isinstance(entries, list) or len(entries) <= len(ids):
        raise _refusal("a completion must carry prompt_logprobs, one for each token of the prompt", reply)
    total = []
    for token, entry in zip(ids, entries[-len(ids) :], strict=True):
        logprob = entry.get(str(token)) if isinstance(entry, dict) else None
        value = logprob.get("logprob") if isinstance(logprob, dict) else None
        total.append(_number(value, f"the log-probability of prompt token {token} must be a number", reply))
    return math.fsum(total)


def read_relevance(reply: Json, count: int) -> list[float]:
    """Return the scores in the answer of ``/rerank``, in the order of the documents sent.

    A score is a ``relevance_score`` (vLLM, Cohere, Jina) or a ``score`` (TEI).

    Raises:
        ServerAnswerError: not one finite score per document.
    """
    results = reply.get("results")
    scores: dict[int, float] = {}
    for result in results if isinstance(results, list) else []:
        index = result.get("index") if isinstance(result, dict) else None
        value = result.get("relevance_score", result.get("score")) if isinstance(result, dict) else None
        score = _number(value, "a relevance_score must be a number", reply)
        if isinstance(index, int) and not isinstance(index, bool):
            scores[index] = score
    if sorted(scores) != list(range(count)):
        raise _refusal(f"/rerank must score documents 0 to {count - 1}, got {sorted(scores)[:20]}", reply)
    return [scores[index] for index in range(count)]


def read_score(reply: Json) -> float:
    """Return the one score in the answer of ``/score``.

    Raises:
        ServerAnswerError: no score, several, or one that is not a finite number.
    """
    data = reply.get("data")
    first = data[0] if isinstance(data, list) and len(data) == 1 else None
    value = first.get("score") if isinstance(first, dict) else None
    return _number(value, "/score must answer with one score, a number", reply)


def read_served_context(reply: Json) -> int | None:
    """Return the smallest ``max_model_len`` of the models in ``/v1/models``; None if no model has one."""
    data = reply.get("data")
    models = data if isinstance(data, list) else []
    lengths = [model.get("max_model_len") for model in models if isinstance(model, dict)]
    return min((length for length in lengths if type(length) is int and length > 0), default=None)


def read_boxes(thought: str) -> tuple[Box, ...]:
    """Return the boxes that a thought names as ``"bbox_2d": [x0, y0, x1, y1]`` in thousandths.

    Boxes in another form are skipped.
    """
    boxes: list[Box] = []
    for inside in _BOX.findall(thought):
        try:
            numbers = [float(number) for number in inside.split(",")]
        except ValueError:
            continue
        if len(numbers) != 4 or not all(0 <= number <= BOX_SCALE for number in numbers):
            continue
        x0, y0, x1, y1 = (number / BOX_SCALE for number in numbers)
        if x0 < x1 and y0 < y1:
            boxes.append((x0, y0, x1, y1))
    return tuple(boxes)


def _refusal(why: str, reply: Json) -> ServerAnswerError:
    raw = json.dumps(reply, ensure_ascii=False)
    return ServerAnswerError(f"{why}; the answer was {quote(raw)}.", raw)
