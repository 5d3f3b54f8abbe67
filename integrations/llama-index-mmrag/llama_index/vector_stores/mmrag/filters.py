"""LlamaIndex's `MetadataFilters` in the filter language of mmrag (`mmrag.index.filters`).

A list in a node's metadata is a key with several values, so ``any``, ``all`` and ``contains`` look at whole
values. ``text_match`` and ``text_match_insensitive`` look into strings: the values of the index that hold the
words are looked up, and make the condition.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from mmrag.hosts.stores import values_with, warn_of_filter_keys
from mmrag.index import Filter, Index

_RANGES = {
    FilterOperator.GT: "$gt",
    FilterOperator.GTE: "$gte",
    FilterOperator.LT: "$lt",
    FilterOperator.LTE: "$lte",
}
_LISTS = {
    FilterOperator.IN: "$in",
    FilterOperator.ANY: "$in",
    FilterOperator.NIN: "$nin",
    FilterOperator.ALL: "$all",  # not of the language: one condition a value
}
_IGNORES_CASE = FilterOperator.TEXT_MATCH_INSENSITIVE
_ABSENT_PASSES = (FilterOperator.NE, FilterOperator.NIN, FilterOperator.IS_EMPTY)


def to_filter(filters: MetadataFilters | None, index: Index) -> Filter | None:
    """Return the same condition in mmrag's language; None lets everything pass.

    Args:
        filters: the host's.
        index: whose values ``text_match`` looks into.

    Raises:
        TypeError: `filters` is something else.
        ValueError: a value that does not fit its operator.
    """
    if filters is None:
        return None
    if not isinstance(filters, MetadataFilters):
        raise TypeError(
            f"filters must be MetadataFilters, got {type(filters).__name__}. Write "
            "MetadataFilters(filters=[MetadataFilter(key=..., value=...)])."
        )
    conditions = [_translate(part, index) for part in filters.filters]
    parts = [condition for condition in conditions if condition is not None]
    if not parts:
        return None
    if filters.condition == FilterCondition.OR:
        return {"$or": parts}
    if filters.condition == FilterCondition.NOT:
        return {"$not": {"$or": parts}}  # none of them may hold
    return {"$and": parts}


def warn_of_keys(filters: MetadataFilters | None, index: Index) -> None:
    """Log a warning of a key that no record has; for a search that found nothing."""
    if filters is not None:
        warn_of_filter_keys(_keys(filters), index)


def _keys(filters: MetadataFilters) -> Iterator[str]:
    for part in filters.filters:
        if isinstance(part, MetadataFilters):
            yield from _keys(part)
        elif part.operator not in _ABSENT_PASSES:
            yield part.key


def _translate(part: MetadataFilter | MetadataFilters, index: Index) -> Filter | None:
    if isinstance(part, MetadataFilters):
        return to_filter(part, index)
    key, operator, value = part.key, part.operator, part.value
    if operator == FilterOperator.IS_EMPTY:
        return _is_empty(key)
    if operator in _LISTS:
        return _of_list(key, operator, value)
    if isinstance(value, list) or value is None:
        raise ValueError(
            f"the filter {operator.value!r} on {key!r} takes one value, got {value!r}. "
            "Use 'in', 'any' or 'all' for a list, 'is_empty' for no value."
        )
    if operator in _RANGES:
        return {key: {_RANGES[operator]: value}}
    if operator in (FilterOperator.EQ, FilterOperator.CONTAINS):
        return {key: {"$in": _equals(value)}}
    if operator == FilterOperator.NE:
        return {key: {"$nin": _equals(value)}}
    return {key: {"$in": values_with(index, key, value, ignore_case=operator == _IGNORES_CASE)}}


def _of_list(key: str, operator: FilterOperator, value: object) -> Filter:
    if not isinstance(value, list):
        raise ValueError(f"the filter {operator.value!r} on {key!r} takes a list, got {value!r}.")
    if operator == FilterOperator.ALL:
        return {"$and": [{key: {"$in": _equals(item)}} for item in value]} if value else {}
    return {key: {_LISTS[operator]: [equal for item in value for equal in _equals(item)]}}


def _equals(value: Any) -> list[Any]:
    """Return a value and what Python, and so LlamaIndex, calls equal: 1 is True there, not in mmrag."""
    return [value, bool(value)] if value in (0, 1) else [value]


def _is_empty(key: str) -> Filter:
    """Return the filter for no such key, or the empty string; any other value is in one of three ranges."""
    present: Sequence[Filter] = [
        {key: {"$gt": ""}},
        {key: {"$gte": -sys.float_info.max}},
        {key: {"$in": [True, False]}},
    ]
    return {"$not": {"$or": present}}
