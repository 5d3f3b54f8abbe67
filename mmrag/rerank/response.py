"""What a server said, as pure functions: a reply in, a number or a text out, or a `ServerAnswerError`.

Nothing is guessed and nothing repaired: a reply that does not hold what was asked for is refused. The
message quotes the reply; `mmrag.serving.requests` puts the URL before it.
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
"""What vLLM writes for a log-probability of minus infinity."""

BOX_SCALE = 1000.0  # Qwen3-VL names places in thousandths of the picture

_CHAIN = re.compile(r"\[\d+\](?:\s*>\s*\[\d+\])*")
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|[。！？\n]")  # noqa: RUF001
_BOX = re.compile(r'"bbox(?:_2d)?"\s*:\s*\[([^\[\]]*)\]')


@dataclass(frozen=True, slots=True)
class Thought:
    """What a model wrote before it answers.

    Attributes:
        text: without its tags.
        cut: whether it did not end by itself and was closed after a whole sentence.
    """

    text: str
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """An order of pages 1..count.

    Attributes:
        places: 0-based, best first, each once; those that the answer did not name stand last.
        missing: places the answer did not name.
        repeats: how often it named one again.
        unknown: how often it named a number that there is not.
    """

    places: tuple[int, ...]
    missing: frozenset[int] = frozenset()
    repeats: int = 0
    unknown: int = 0


def read_thought(reply: Json) -> Thought:
    """The thought of a chat reply, from its own field or from before its end tag.

    Raises:
        ServerAnswerError: no chat reply, or it neither ended nor ran out of tokens.
    """
    chat = parse_chat(reply)
    if chat.finish_reason not in ("stop", "length"):
        raise _refused(f"a thought must end with 'stop' or 'length', got {chat.finish_reason!r}", reply)
    text = (chat.thought or chat.content.split(END_OF_THOUGHT)[0]).strip().removeprefix("<think>").strip()
    # An answer behind the thought has used up tokens too; then the thought itself is whole.
    whole = bool(chat.thought and chat.content) or END_OF_THOUGHT in chat.content
    if chat.finish_reason == "stop" or whole:
        return Thought(text)
    ends = [end.end() for end in _SENTENCE_END.finditer(text)]
    return Thought(text[: ends[-1]].strip() if ends else text, cut=True)


def read_yes_no(reply: Json, yes: Sequence[int], no: Sequence[int]) -> float:
    """``p(yes) / (p(yes) + p(no))`` at the first token of a chat reply, each summed over its token ids.

    With one id a side this is ``sigmoid(logit_yes - logit_no)``: a log-probability is a logit minus what
    is the same for all tokens.

    Raises:
        ServerAnswerError: no log-probability of a token, or one that is no number.
    """
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise _refused("a chat answer must have choices[0]", reply)
    held = choices[0].get("logprobs")
    tokens = held.get("content") if isinstance(held, dict) else None
    first = tokens[0] if isinstance(tokens, list) and tokens else None
    listed = first.get("top_logprobs") if isinstance(first, dict) else None
    if not isinstance(listed, list):
        raise _refused(
            "a yes/no answer must carry log-probabilities (logprobs.content[0].top_logprobs)", reply
        )
    found = {e.get("token"): e.get("logprob") for e in listed if isinstance(e, dict)}
    both = [[_logprob(found, token, reply) for token in side] for side in (yes, no)]
    log_yes, log_no = _log_sum(both[0]), _log_sum(both[1])
    if max(log_yes, log_no) <= NOT_SEEN:
        raise _refused("a yes/no answer must leave a chance to 'yes' or 'no', it leaves none", reply)
    return sigmoid(log_yes - log_no)


def _logprob(found: dict[object, object], token: int, reply: Json) -> float:
    value = found.get(f"token_id:{token}")
    if value is None:
        raise _refused(
            f"a yes/no answer must carry the log-probability of token {token} "
            "(logprob_token_ids, vLLM 0.32 or newer)",
            reply,
        )
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _refused(f"the log-probability of token {token} must be a number, got {value!r}", reply)
    return float(value)


def _log_sum(values: Sequence[float]) -> float:
    most = max(values)
    return most + math.log(math.fsum(math.exp(value - most) for value in values))


def sigmoid(x: float) -> float:
    """``1 / (1 + exp(-x))`` without overflow."""
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    return math.exp(x) / (1.0 + math.exp(x))


def read_order(reply: Json, count: int) -> Order:
    """The order in a chat reply: its longest chain ``[2] > [1] > ...``, the last of several as long.

    What stands in the thought does not count. Missing pages follow in prior order.

    Raises:
        ServerAnswerError: no chat reply, one that was cut off before any number, or no valid number.
    """
    chat = parse_chat(reply)
    answer = chat.content.rsplit(END_OF_THOUGHT, 1)[-1]
    named: list[int] = []
    for chain in _CHAIN.findall(answer):
        numbers = [int(number) for number in re.findall(r"\d+", chain)]
        named = numbers if len(numbers) >= len(named) else named
    valid = [number - 1 for number in named if 1 <= number <= count]
    if not valid:
        raise _refused(f"a ranking must name at least one of [1] to [{count}], got {quote(answer)}", reply)
    once = tuple(dict.fromkeys(valid))
    missing = tuple(place for place in range(count) if place not in once)
    return Order(once + missing, frozenset(missing), len(valid) - len(once), len(named) - len(valid))


def read_tokens(reply: Json) -> list[int]:
    """Token ids in the answer of ``/tokenize``.

    Raises:
        ServerAnswerError: none are there.
    """
    tokens = reply.get("tokens")
    if not isinstance(tokens, list) or not all(
        isinstance(t, int) and not isinstance(t, bool) for t in tokens
    ):
        raise _refused("/tokenize must answer with a list of token ids", reply)
    return tokens


def read_context(reply: Json) -> int:
    """``max_model_len`` in the answer of ``/tokenize``: tokens that prompt and answer share.

    Raises:
        ServerAnswerError: it is not there.
    """
    value = reply.get("max_model_len")
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _refused("/tokenize must tell max_model_len", reply)
    return value


def opens_thought(reply: Json) -> bool:
    """Whether the prompt that ``/tokenize`` shows ends in an open thought, as templates of thinkers do.

    Raises:
        ServerAnswerError: the prompt is not shown.
    """
    words = reply.get("token_strs")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise _refused("/tokenize must answer with token_strs", reply)
    end = "".join(words[-16:])
    return end.rfind("<think>") > end.rfind(END_OF_THOUGHT)


def read_likelihood(reply: Json, ids: Sequence[int]) -> float:
    """Sum of the log-probabilities of a prompt's last tokens, which must be these.

    Raises:
        ServerAnswerError: they are not all there, or one is no number.
    """
    choices = reply.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    listed = first.get("prompt_logprobs") if isinstance(first, dict) else None
    if not isinstance(listed, list) or len(listed) <= len(ids):
        raise _refused("a completion must carry prompt_logprobs, one for each token of the prompt", reply)
    total = []
    for token, at in zip(ids, listed[-len(ids) :], strict=True):
        entry = at.get(str(token)) if isinstance(at, dict) else None
        value = entry.get("logprob") if isinstance(entry, dict) else None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise _refused(
                f"the log-probability of prompt token {token} must be a number, got {value!r}", reply
            )
        total.append(float(value))
    return math.fsum(total)


def read_relevance(reply: Json, count: int) -> list[float]:
    """Scores in the answer of ``/rerank``, in the order of the documents sent.

    Raises:
        ServerAnswerError: not one finite score for each.
    """
    results = reply.get("results")
    scores: dict[int, float] = {}
    for result in results if isinstance(results, list) else []:
        index = result.get("index") if isinstance(result, dict) else None
        value = result.get("relevance_score") if isinstance(result, dict) else None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise _refused(f"a relevance_score must be a number, got {value!r}", reply)
        if isinstance(index, int) and not isinstance(index, bool):
            scores[index] = float(value)
    if sorted(scores) != list(range(count)):
        raise _refused(f"/rerank must score documents 0 to {count - 1}, got {sorted(scores)}", reply)
    return [scores[place] for place in range(count)]


def read_score(reply: Json) -> float:
    """The one score in the answer of ``/score``.

    Raises:
        ServerAnswerError: not just one, or one that is no number.
    """
    data = reply.get("data")
    first = data[0] if isinstance(data, list) and len(data) == 1 else None
    value = first.get("score") if isinstance(first, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _refused(f"/score must answer with one score, a number, got {value!r}", reply)
    return float(value)


def read_served_context(reply: Json) -> int | None:
    """The smallest ``max_model_len`` of the models that ``/v1/models`` lists; None where none tells it."""
    data = reply.get("data")
    models = data if isinstance(data, list) else []
    listed = [model.get("max_model_len") for model in models if isinstance(model, dict)]
    known = [length for length in listed if type(length) is int and length > 0]
    return min(known, default=None)


def read_boxes(thought: str) -> tuple[Box, ...]:
    """Boxes that a thought names as ``"bbox_2d": [x0, y0, x1, y1]`` in thousandths; others are not read."""
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


def _refused(why: str, reply: Json) -> ServerAnswerError:
    raw = json.dumps(reply, ensure_ascii=False)
    return ServerAnswerError(f"{why}; the answer was {quote(raw)}.", raw)
