"""Messages for invalid configurations: file, key path, rule, value, and the nearest known key."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

RULES = {
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "model_type": "must be a mapping of keys to values",
    "literal_error": "must be {expected}",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "too_long": "must have at most {max_length} values",
}
"""Rule by pydantic's type of error, filled from its context."""


def describe(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """Return a message with one line per error.

    Args:
        error: from validating `model`.
        model: the whole configuration, for its known keys.
        where: the file.
    """
    return "\n".join(_line(details, model, where) for details in error.errors(include_url=False))


def _line(details: ErrorDetails, model: type[BaseModel], where: str) -> str:
    location, kind, value = details["loc"], details["type"], details["input"]
    context = details.get("ctx", {})
    if kind == "value_error":  # raised by a validator of ours, which words the whole rule
        return f"{_path(location, where)}: {context['error']}"
    if kind in ("extra_forbidden", "missing") and isinstance(location[-1], str):
        section = _path(location[:-1], where)
        if kind == "missing":
            return f"{section}: {location[-1]!r} is missing."
        return f"{section}: unknown key {location[-1]!r}.{_hint(location, model)}"
    if kind == "missing":  # a value of a list of fixed length
        return f"{_path(location[:-1], where)} must have more values, got {value!r}."
    rule = RULES.get(kind, "is invalid ({message})").format(**context, message=details["msg"])
    hint = " YAML reads 1e-4 as text: write 1.0e-4." if _is_exponent(kind, value) else ""
    return f"{_path(location, where)} {rule}, got {value!r}.{hint}"


def _path(location: tuple[int | str, ...], where: str) -> str:
    """Return ``file: section: key[0]``."""
    return where + "".join(f"[{key}]" if isinstance(key, int) else f": {key}" for key in location)


def _hint(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """Return the nearest known key to the unknown one at `location`, or all known keys."""
    for key in location[:-1]:
        if isinstance(key, str):
            model = next(_models(model.model_fields[key].annotation))
    keys = list(model.model_fields)
    near = difflib.get_close_matches(str(location[-1]), keys, n=1)
    return f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(keys)}."


def _models(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401  any type
    """Yield the models in an annotation such as ``tuple[DataConfig, ...]`` or ``Lora | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _is_exponent(kind: str, value: object) -> bool:
    return kind == "float_type" and isinstance(value, str) and "e" in value.lower()
