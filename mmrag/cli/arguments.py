"""Kinds of arguments of the command line: a text in, a value out, or one clear refusal."""

from __future__ import annotations

import argparse
import json
from typing import Any

from mmrag.types import Budget


def budget(text: str) -> Budget:
    """Parse ``QUERY,DOCUMENT``, for example ``16,64``."""
    try:
        query, document = (int(part) for part in text.split(","))
        return Budget(query, document)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"a budget must be two whole numbers of at least 1, got {text!r}. Write it like 16,64."
        ) from error


def metadata_filter(text: str) -> dict[str, Any]:
    """Parse ``key=value`` (a number where it looks like one) or a JSON filter."""
    if text.lstrip().startswith("{"):
        try:
            return dict(json.loads(text))
        except ValueError as error:
            raise argparse.ArgumentTypeError(
                f"a filter must be valid JSON or key=value, got {text!r}: {error}."
            ) from error
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(
            f"a filter must be valid JSON or key=value, got {text!r}. "
            'Write it like file_name=a.pdf or \'{"page": {"$lt": 10}}\'.'
        )
    return {key: _plain(value)}


def metadata_pair(text: str) -> tuple[str, Any]:
    """Parse one ``key=value`` of metadata."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"metadata must be key=value, got {text!r}.")
    return key, _plain(value)


def _plain(value: str) -> str | int | float | bool:
    try:
        parsed = json.loads(value)
    except ValueError:
        return value
    return parsed if isinstance(parsed, int | float | bool) else value


def positive(text: str) -> int:
    """Parse a whole number of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"this must be a whole number of at least 1, got {text!r}.")
    return value


def count(text: str) -> int:
    """Parse a whole number of at least 0."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"this must be a whole number of at least 0, got {text!r}.")
    return value


def share(text: str) -> float:
    """Parse a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"this must be a number from 0 to 1, got {text!r}.")
    return value


def port(text: str) -> int:
    """Parse a port; 0 stands for any free one."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"a port must be a whole number of 0 to 65535, got {text!r}.")
    return value


def ranks(text: str) -> tuple[int, int]:
    """Parse ``FIRST,LAST``, for example ``1,20``."""
    try:
        first, last = (int(part) for part in text.split(","))
    except ValueError:
        first, last = 0, 0
    if not 1 <= first <= last:
        raise argparse.ArgumentTypeError(f"this must be a first and a last rank, got {text!r}. Like 1,20.")
    return first, last


def number(text: str) -> float | str:
    """Parse a number, or ``off``."""
    if text == "off":
        return text
    try:
        return float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"this must be a number or 'off', got {text!r}.") from error
