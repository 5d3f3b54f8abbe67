"""Sections named `Example:`, shown as code: the reader of docstrings knows `Examples:` alone."""

from __future__ import annotations

import re

import griffe


class ExampleSections(griffe.Extension):
    """Docstrings whose examples are shown as code."""

    def on_object(self, *, obj: griffe.Object, **kwargs: object) -> None:
        """Name the section of examples as it is known."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
