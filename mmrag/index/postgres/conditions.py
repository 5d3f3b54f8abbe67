"""Metadata filters as SQL over ``records.metadata``, JSON of each key with the list of its values.

Every name and value is a parameter; the text of a condition is made of constants alone. ``=`` and ``$in`` of
few values are ``@>``, which the GIN index answers; the rest is looked at record by record.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mmrag.index.filters import Filter
from mmrag.index.postgres.values import json_value, stored_text

INDEXED_VALUES = 50
"""Most values of an ``$in`` that are asked of the index one by one."""

_ALIASES = {"$contains": "$eq", "$not_contains": "$ne"}
_RANGES = {
    "$gt": "$[*] ? (@ > $v)",
    "$gte": "$[*] ? (@ >= $v)",
    "$lt": "$[*] ? (@ < $v)",
    "$lte": "$[*] ? (@ <= $v)",
}
"""Paths of JSON: values of another kind are neither greater nor smaller."""


def condition_of(filter: Filter | None) -> tuple[str, list[Any]]:
    """Translate a filter that `mmrag.index.filters.validate` accepts to SQL and its parameters.

    ``TRUE`` means that everything passes.
    """
    parameters: list[Any] = []
    return ("TRUE" if not filter else _all_of(filter, parameters)), parameters


def _all_of(filter: Filter, parameters: list[Any]) -> str:
    parts = [_part(key, operand, parameters) for key, operand in filter.items()]
    return " AND ".join(parts) if parts else "TRUE"


def _part(key: str, operand: Any, parameters: list[Any]) -> str:  # noqa: ANN401  from JSON, validated
    if key in ("$and", "$or"):
        joint = " AND " if key == "$and" else " OR "
        return "(" + joint.join(f"({_all_of(part, parameters)})" for part in operand) + ")"
    if key == "$not":
        return f"NOT ({_all_of(operand, parameters)})"
    pairs = operand.items() if isinstance(operand, Mapping) else [("$eq", operand)]
    return " AND ".join(_condition(key, _ALIASES.get(name, name), value, parameters) for name, value in pairs)


def _condition(key: str, name: str, value: Any, parameters: list[Any]) -> str:  # noqa: ANN401
    if name in ("$ne", "$nin"):
        return f"NOT ({_condition(key, '$eq' if name == '$ne' else '$in', value, parameters)})"
    if value is None:  # has no value: an empty list is none either
        parameters.append(stored_text(key))
        return "coalesce(metadata -> %s, '[]') = '[]'"
    if name == "$in":
        return _among(key, value, parameters)
    if name == "$eq":
        return _equal(key, value, parameters)
    parameters += [stored_text(key), json.dumps({"v": json_value(value)})]
    return f"coalesce(jsonb_path_exists(metadata -> %s, '{_RANGES[name]}', %s::jsonb), FALSE)"


def _equal(key: str, value: Any, parameters: list[Any]) -> str:  # noqa: ANN401
    parameters.append(json.dumps({stored_text(key): [json_value(value)]}))
    return "metadata @> %s::jsonb"


def _among(key: str, values: Any, parameters: list[Any]) -> str:  # noqa: ANN401
    if not values:
        return "FALSE"
    if len(values) <= INDEXED_VALUES:
        return "(" + " OR ".join(_equal(key, value, parameters) for value in values) + ")"
    parameters += [stored_text(key), [json.dumps(json_value(value)) for value in values]]
    return (
        "EXISTS (SELECT FROM jsonb_array_elements(coalesce(metadata -> %s, '[]')) AS item(value) "
        "WHERE item.value = ANY (%s::jsonb[]))"
    )
