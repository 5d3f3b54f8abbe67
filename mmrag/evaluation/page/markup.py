"""HTML built of elements: every text is escaped, unless it is an element itself.

What a pack holds is written by anybody: names of files, words of pages, questions, answers of models.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TypeAlias

from mmrag.files import visible

VOID = frozenset({"img", "input", "meta"})
"""Elements without an end; those of SVG have one in HTML."""


class Html(str):
    """Text that is HTML already: what `tag` and `join` return."""

    __slots__ = ()


Content: TypeAlias = "str | int | Html | None"
"""A child of an element; None is left out."""


def text(content: str | int) -> Html:
    """Escape a text; what a browser or a terminal would act on unseen becomes visible."""
    return content if isinstance(content, Html) else Html(escape(visible(str(content)), quote=True))


def join(contents: Iterable[Content], separator: str = "") -> Html:
    """Join contents, escaped where they are no HTML."""
    return Html(separator.join(text(content) for content in contents if content is not None))


def tag(name: str, /, *contents: Content, **attributes: str | int | bool | None) -> Html:
    """Return an element.

    Args:
        name: of the element.
        contents: children, escaped where they are no HTML.
        attributes: a trailing underscore is dropped (``class_``), others become dashes; True stands alone,
            False and None are left out.
    """
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        label = key.rstrip("_").replace("_", "-")
        words.append(label if value is True else f'{label}="{text(value)}"')
    start = f"<{' '.join(words)}>"
    return Html(start) if name in VOID else Html(f"{start}{join(contents)}</{name}>")
