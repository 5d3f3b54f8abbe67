"""Values of options: a text in; a value out, or a usage error that names the text."""

from __future__ import annotations

import json
from typing import Any

from typer import BadParameter

from mmrag.types import Budget


def budget(text: str) -> Budget:
    """Parse ``QUERY,DOCUMENT``, for example ``16,64``."""
    try:
        query, document = (int(part) for part in text.split(","))
        return Budget(query, document)
    except ValueError as error:
        raise BadParameter(
            f"a budget must be two whole numbers of at least 1, got {text!r}. Write it like 16,64."
        ) from error


def metadata_filter(text: str) -> dict[str, Any]:
    """Parse ``key=value`` (a number where it looks like one) or a JSON filter."""
    if text.lstrip().startswith("{"):
        try:
            return dict(json.loads(text))
        except ValueError as error:
            raise BadParameter(f"a filter must be valid JSON or key=value, got {text!r}: {error}.") from error
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise BadParameter(
            f"a filter must be valid JSON or key=value, got {text!r}. "
            'Write it like file_name=a.pdf or \'{"page": {"$lt": 10}}\'.'
        )
    return {key: _scalar(value)}


def metadata_pair(text: str) -> tuple[str, Any]:
    """Parse one ``key=value`` of metadata."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise BadParameter(f"metadata must be key=value, got {text!r}.")
    return key, _scalar(value)


def _scalar(value: str) -> str | int | float | bool:
    try:
        scalar = json.loads(value)
    except ValueError:
        return value
    return scalar if isinstance(scalar, int | float | bool) else value


def ranks(text: str) -> tuple[int, int]:
    """Parse ``FIRST,LAST``, for example ``1,20``."""
    try:
        first, last = (int(part) for part in text.split(","))
    except ValueError:
        first, last = 0, 0
    if not 1 <= first <= last:
        raise BadParameter(f"this must be a first and a last rank, got {text!r}. Like 1,20.")
    return first, last


def number(text: str) -> float | str:
    """Parse a number, or ``off``."""
    if text == "off":
        return text
    try:
        return float(text)
    except ValueError as error:
        raise BadParameter(f"this must be a number or 'off', got {text!r}.") from error
