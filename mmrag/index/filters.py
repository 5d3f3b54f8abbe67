"""Metadata filters (placeholder for the type; the index room fills it)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

Filter: TypeAlias = Mapping[str, Any]
