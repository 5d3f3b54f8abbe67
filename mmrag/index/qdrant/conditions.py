"""Filters as Qdrant's conditions: the meaning of `mmrag.index.filters`, to the letter.

Every metadata key has two fields in a point's payload: ``m.NAME.v``, all its values as words (``s`` and the
text, ``n`` and the number, ``b0`` or ``b1``), for equality of any kind, and ``m.NAME.n``, its numbers as
float64, for ranges. So 1 equals 1.0 and not True, and integers of 64 bits are told apart.

Two conditions have no exact form: a range with a number beyond float64's whole numbers, and a range of texts,
which is first looked up (`Values`: the distinct values of the key, of which those in the range are named) and
only where there are too many of them has none. Those let more pass than the filter does, and
`Translation.is_exact` says so: whoever asks judges what comes back once more.
"""

# ruff: noqa: ANN401  (operands come from JSON; `mmrag.index.filters.validate` looked at what they are)
from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from mmrag.index.filters import Filter, kind_of, matches, metadata_values
from mmrag.index.qdrant.collection import ALWAYS, NEVER, Condition, all_of, value_among, value_is
from mmrag.types import Metadata, Scalar

Values: TypeAlias = Callable[[str], list[Scalar] | None]
"""Returns the distinct values of a metadata key; None where there are too many."""

METADATA = "m"
"""Field of the payload that holds what filters look at."""

_LARGEST_WHOLE = 2.0**53
_RANGES = {"$gt": "gt", "$gte": "gte", "$lt": "lt", "$lte": "lte"}
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Translation:
    """A filter as a condition.

    Attributes:
        condition: all points that pass the filter meet it.
        is_exact: no others do.
    """

    condition: Condition
    is_exact: bool


def field_name(key: str) -> str:
    """Return the name of a metadata key in a path: as it is if a plain word, else its bytes in digits."""
    return f"k_{key}" if _PLAIN.fullmatch(key) else f"x_{key.encode().hex()}"


def values_path(key: str) -> str:
    """Return the path of the field with all values of a key, as words."""
    return f"{METADATA}.{field_name(key)}.v"


def numbers_path(key: str) -> str:
    """Return the path of the field with the numbers of a key."""
    return f"{METADATA}.{field_name(key)}.n"


def value_word(value: Scalar) -> str:
    """Write a value so that equal values are equal words and others are not."""
    if isinstance(value, bool):
        return f"b{int(value)}"
    if isinstance(value, str):
        return f"s{value}"
    return f"n{int(value) if value == int(value) else repr(float(value))}"


def word_value(word: str) -> Scalar:
    """Read what `value_word` wrote; a whole number comes back as int."""
    kind, text = word[0], word[1:]
    if kind == "b":
        return text == "1"
    if kind == "s":
        return text
    return float(text) if re.search("[.e]", text) else int(text)


def filter_fields(metadata: Metadata) -> dict[str, dict[str, list[Any]]]:
    """Return what filters look at, by field name."""
    fields: dict[str, dict[str, list[Any]]] = {}
    for key in metadata:
        values = metadata_values(metadata, key)
        if not values:
            continue
        entry: dict[str, list[Any]] = {"v": list(dict.fromkeys(map(value_word, values)))}
        numbers = [float(value) for value in values if not isinstance(value, (bool, str))]
        if numbers:
            entry["n"] = numbers
        fields[field_name(key)] = entry
    return fields


def translate(filter: Filter | None, values: Values) -> Translation:
    """Translate a filter that `mmrag.index.filters.validate` accepts."""
    translator = _Translator(values)
    condition = ALWAYS if not filter else translator.all(filter, is_negated=False)
    return Translation(condition, translator.is_exact)


def passes(filter: Filter | None, translation: Translation, metadata: Metadata) -> bool:
    """Judge what met the condition once more, where the condition is not exact."""
    return translation.is_exact or matches(filter, metadata)


class _Translator:
    """One translation; remembers whether all of it was exact."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self.is_exact = True

    def all(self, filter: Filter, *, is_negated: bool) -> Condition:
        """Translate a filter; under an odd number of negations what is not exact must let less pass."""
        return all_of(*(self._part(key, operand, is_negated=is_negated) for key, operand in filter.items()))

    def _part(self, key: str, operand: Any, *, is_negated: bool) -> Condition:
        if key == "$and":
            return all_of(*(self.all(part, is_negated=is_negated) for part in operand))
        if key == "$or":
            return {"should": [self.all(part, is_negated=is_negated) for part in operand]}
        if key == "$not":
            return {"must_not": [self.all(operand, is_negated=not is_negated)]}
        pairs = operand.items() if isinstance(operand, Mapping) else [("$eq", operand)]
        return all_of(*(self._condition(key, name, value, is_negated=is_negated) for name, value in pairs))

    def _condition(self, key: str, name: str, value: Any, *, is_negated: bool) -> Condition:
        path = values_path(key)
        if name in ("$ne", "$nin", "$not_contains"):
            return {
                "must_not": [
                    self._condition(key, "$in" if name == "$nin" else "$eq", value, is_negated=is_negated)
                ]
            }
        if name == "$in":
            return value_among(path, [value_word(item) for item in value])
        if name in ("$eq", "$contains"):
            return {"is_empty": {"key": path}} if value is None else value_is(path, value_word(value))
        if isinstance(value, str):
            return self._text_range(key, name, value, is_negated=is_negated)
        if abs(value) >= _LARGEST_WHOLE:
            return self._no_limit(is_negated=is_negated)
        return {"key": numbers_path(key), "range": {_RANGES[name]: float(value)}}

    def _text_range(self, key: str, name: str, value: str, *, is_negated: bool) -> Condition:
        all_values = self._values(key)
        if all_values is None:
            return self._no_limit(is_negated=is_negated)
        among = [
            value_word(item)
            for item in all_values
            if kind_of(item) == kind_of(value) and _in(name, item, value)
        ]
        return value_among(values_path(key), among)

    def _no_limit(self, *, is_negated: bool) -> Condition:
        self.is_exact = False
        return NEVER if is_negated else ALWAYS


def _in(name: str, left: Any, right: Any) -> bool:
    return matches({"v": {name: right}}, {"v": left})
