"""Metadata filters: one small language, judged in Python or in SQL with the same result.

A filter is a JSON-able dict in the style of MongoDB and Chroma::

    {"file_name": "a.pdf"}                                    equal
    {"page": {"$gte": 3, "$lt": 10}}                          range
    {"kind": {"$in": ["pdf", "image"]}, "scanned": True}      several keys: all must hold
    {"$or": [{"page": 1}, {"$not": {"kind": "pdf"}}]}         and, or, not

Operators on a key: ``$eq $ne $in $nin $gt $gte $lt $lte $contains $not_contains``. Over filters: ``$and $or``
(lists) and ``$not`` (one filter). ``{}`` lets everything pass.

What it means, once for every home and both channels:

* A key that a record does not have is in no range and equals nothing but None: None in metadata is no
  value, so ``{"author": None}`` finds records without the key, ``{"author": {"$ne": None}}`` those with it.
* ``$contains`` and ``$not_contains``, of keys with several values, are ``$eq`` and ``$ne``.
* ``$ne``, ``$nin`` and ``$not`` are plain negations, so a record without the key passes ``$ne``.
* A key with several values (a tuple) matches if any of them does; each operator is judged by itself,
  so ``{"n": {"$gt": 2, "$lt": 5}}`` is met by ``(1, 9)``.
* Numbers compare with numbers, strings with strings (by code point, case matters), booleans with
  booleans only by equality: True is not 1, and "3" is neither greater nor smaller than 3.
"""

# ruff: noqa: ANN401  (operands come from JSON; validate looks at what they are)
from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from mmrag.types import Metadata, Scalar

Filter: TypeAlias = Mapping[str, Any]

MAX_CONDITIONS = 500
MAX_VALUES = 10_000
MAX_DEPTH = 10
"""Within SQLite's limits on the size of an expression, its parameters and its parser's stack (tested)."""

KIND_BOOL, KIND_NUMBER, KIND_STRING = 0, 1, 2
"""The three kinds of value; values of different kinds are never equal."""

_COMPARISONS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_ALIASES = {"$contains": "$eq", "$not_contains": "$ne"}
_KEY_OPERATORS = ("$eq", "$ne", "$in", "$nin", *_COMPARISONS, *_ALIASES)
_FILTER_OPERATORS = ("$and", "$or", "$not")


def kind_of(value: object) -> int | None:
    """Return ``KIND_BOOL``, ``KIND_NUMBER`` or ``KIND_STRING``; None for what is no scalar."""
    if isinstance(value, bool):
        return KIND_BOOL
    if isinstance(value, (int, float)):
        return KIND_NUMBER
    return KIND_STRING if isinstance(value, str) else None


def scalar_problem(value: object) -> str | None:
    """Explain why a value cannot be stored or compared; None if it can."""
    kind = kind_of(value)
    if kind is None:
        return "must be a string, a number or a boolean"
    if isinstance(value, float) and not math.isfinite(value):
        return "must be a finite number"
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "must fit in 64 bits"
    if isinstance(value, str) and not is_unicode(value):
        return "must be text that UTF-8 can write (no lone surrogates)"
    return None


def is_unicode(text: str) -> bool:
    """Check whether UTF-8 can encode the text; a lone surrogate (from a file name, say) cannot be."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def validate(filter: Filter | None) -> None:
    """Check a filter whole before anything is looked up.

    Raises:
        TypeError: the filter, or a part that must be one, is not a mapping.
        ValueError: an unknown operator, an operand of the wrong type, an empty list of filters, or
            more conditions, values or depth than the limits of this module.
    """
    if filter is None:
        return
    values = sum(_validate(filter, depth=1))
    if values > MAX_VALUES:
        raise ValueError(f"a filter may hold at most {MAX_VALUES} values, got {values}. Ask in parts.")


def _validate(filter: object, depth: int) -> list[int]:
    """Check the conditions; return the number of values of each."""
    if not isinstance(filter, Mapping):
        raise TypeError(f"a filter must be a dict, got {filter!r}. Write {{'key': value}}.")
    if depth > MAX_DEPTH:
        raise ValueError(f"a filter may be nested {MAX_DEPTH} deep, got more. Flatten it.")
    counts: list[int] = []
    for key, operand in filter.items():
        if not isinstance(key, str):
            raise ValueError(f"a filter's keys must be strings, got {key!r}.")
        if not key.startswith("$"):
            counts += _validate_condition(key, operand)
        elif key == "$not":
            counts += _validate(operand, depth + 1)
        elif key in ("$and", "$or"):
            for part in _filter_list(key, operand):
                counts += _validate(part, depth + 1)
        else:
            raise ValueError(_unknown(key, _FILTER_OPERATORS, "between filters"))
    if len(counts) > MAX_CONDITIONS:
        raise ValueError(
            f"a filter may hold at most {MAX_CONDITIONS} conditions, got {len(counts)}. "
            "Use $in for many values of one key."
        )
    return counts


def _filter_list(name: str, operand: object) -> Sequence[object]:
    if not isinstance(operand, (list, tuple)) or not operand:
        raise ValueError(
            f"{name} takes a list of at least one filter, got {operand!r}. "
            "Leave the filter out to let everything pass."
        )
    return operand


def _validate_condition(key: str, operand: object) -> list[int]:
    if not key or not is_unicode(key):
        raise ValueError(f"a metadata key must be non-empty text, got {key!r}.")
    if not isinstance(operand, Mapping):
        if isinstance(operand, (list, tuple, set, frozenset)):
            raise ValueError(
                f"the value for key {key!r} must be a string, a number or a boolean, got {operand!r}. "
                f"Use {{{key!r}: {{'$in': [...]}}}} for one of several."
            )
        if operand is not None:
            _require_scalar(key, "$eq", operand)
        return [1]
    if not operand:
        raise ValueError(f"the condition on key {key!r} is empty, got {{}}. Give an operator, such as $eq.")
    return [_validate_operator(key, name, value) for name, value in operand.items()]


def _validate_operator(key: str, name: object, value: object) -> int:
    if name not in _KEY_OPERATORS:
        if name in _FILTER_OPERATORS:
            raise ValueError(
                f"{name} stands between filters, not under a key, got it under {key!r}. "
                f"Write {{'{name}': ...}} around {{{key!r}: ...}}."
            )
        raise ValueError(_unknown(str(name), _KEY_OPERATORS, f"for key {key!r}"))
    if name in ("$in", "$nin"):
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{name} for key {key!r} takes a list, got {value!r}. Write [{value!r}].")
        for item in value:
            _require_scalar(key, str(name), item)
        return len(value)
    if value is None and name in ("$eq", "$ne"):
        return 1
    _require_scalar(key, str(name), value)
    if name in _COMPARISONS and isinstance(value, bool):
        raise ValueError(f"{name} for key {key!r} takes a number or a string, got {value!r}. Use $eq.")
    return 1


def _require_scalar(key: str, name: str, value: object) -> None:
    problem = scalar_problem(value)
    if problem:
        raise ValueError(f"the operand of {name} for key {key!r} {problem}, got {value!r}.")


def _unknown(name: str, names: tuple[str, ...], where: str) -> str:
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
    return f"unknown filter operator {name!r} {where}. Did you mean {near[0]!r}? Known: {', '.join(names)}."


def matches(filter: Filter | None, metadata: Metadata) -> bool:
    """Check whether metadata passes a filter that `validate` accepts."""
    if filter is None:
        return True
    return all(_matches_part(key, operand, metadata) for key, operand in filter.items())


def _matches_part(key: str, operand: Any, metadata: Metadata) -> bool:
    if key == "$and":
        return all(matches(part, metadata) for part in operand)
    if key == "$or":
        return any(matches(part, metadata) for part in operand)
    if key == "$not":
        return not matches(operand, metadata)
    values = metadata_values(metadata, key)
    return all(_holds(name, operand_value, values) for name, operand_value in _conditions(operand))


def _conditions(operand: Any) -> Iterator[tuple[str, Any]]:
    """Yield operator and operand of each condition on a key; a bare value means ``$eq``."""
    pairs = operand.items() if isinstance(operand, Mapping) else [("$eq", operand)]
    yield from ((_ALIASES.get(name, name), value) for name, value in pairs)


def _holds(name: str, operand_value: Any, values: tuple[Scalar, ...]) -> bool:
    if name in ("$ne", "$nin"):
        return not _holds("$eq" if name == "$ne" else "$in", operand_value, values)
    if name == "$in":
        return any(_equal(value, item) for value in values for item in operand_value)
    if name == "$eq" and operand_value is None:
        return not values
    if name == "$eq":
        return any(_equal(value, operand_value) for value in values)
    return any(
        _compare(name, value, operand_value) for value in values if kind_of(value) == kind_of(operand_value)
    )


def _equal(left: Scalar, right: Scalar) -> bool:
    return kind_of(left) == kind_of(right) and left == right


def _compare(name: str, left: Any, right: Any) -> bool:
    if name == "$gt":
        return bool(left > right)
    if name == "$gte":
        return bool(left >= right)
    return bool(left < right) if name == "$lt" else bool(left <= right)


def metadata_values(metadata: Metadata, key: str) -> tuple[Scalar, ...]:
    """Return the values of a key as a tuple, empty without the key."""
    value = metadata.get(key)
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)


def metadata_rows(metadata: Metadata) -> list[tuple[str, int | None, Scalar]]:
    """Return ``(key, kind, value)`` of each value, as the table that filters look at holds them."""
    return [
        (key, kind_of(value), int(value) if isinstance(value, bool) else value)
        for key in metadata
        for value in metadata_values(metadata, key)
    ]


def to_sql(filter: Filter | None) -> tuple[str, list[Scalar]]:
    """Translate a filter that `validate` accepts to a condition on ``records.seq`` and its parameters.

    The values are in the table ``metadata(seq, key, kind, value)``, one row per value. ``""`` means
    that everything passes.
    """
    parameters: list[Scalar] = []
    return ("" if not filter else _sql(filter, parameters)), parameters


def _sql(filter: Filter, parameters: list[Scalar]) -> str:
    parts = [_sql_part(key, operand, parameters) for key, operand in filter.items()]
    return " AND ".join(parts) if parts else "1"


def _sql_part(key: str, operand: Any, parameters: list[Scalar]) -> str:
    if key in ("$and", "$or"):
        joint = " AND " if key == "$and" else " OR "
        return "(" + joint.join(f"({_sql(part, parameters)})" for part in operand) + ")"
    if key == "$not":
        return f"NOT ({_sql(operand, parameters)})"
    return " AND ".join(
        _sql_condition(key, name, operand_value, parameters) for name, operand_value in _conditions(operand)
    )


def _sql_condition(key: str, name: str, operand_value: Any, parameters: list[Scalar]) -> str:
    negation = "NOT " if name in ("$ne", "$nin") else ""
    parameters.append(key)
    if operand_value is None:  # has no value, or has some
        negation = "" if name == "$ne" else "NOT "
        return f"records.seq {negation}IN (SELECT seq FROM metadata WHERE key = ?)"
    if name in ("$in", "$nin"):
        test = _sql_among(operand_value, parameters)
    else:
        parameters += [kind_of(operand_value) or 0, _sqlite_value(operand_value)]
        test = f"kind = ? AND value {_COMPARISONS.get(name, '=')} ?"
    return f"records.seq {negation}IN (SELECT seq FROM metadata WHERE key = ? AND {test})"


def _sql_among(operand_value: Any, parameters: list[Scalar]) -> str:
    tests = []
    for kind in (KIND_BOOL, KIND_NUMBER, KIND_STRING):
        values = [value for value in operand_value if kind_of(value) == kind]
        if values:
            parameters += [kind, *map(_sqlite_value, values)]
            tests.append(f"(kind = ? AND value IN ({', '.join('?' * len(values))}))")
    return "(" + " OR ".join(tests) + ")" if tests else "0"


def _sqlite_value(value: Scalar) -> Scalar:
    """Convert a value to the form SQLite stores: a boolean becomes 0 or 1, its kind says so."""
    return int(value) if isinstance(value, bool) else value
