"""The API key of a served model: read from the environment, never written down."""

from __future__ import annotations

from typing import Any

from langchain_core.utils import secret_from_env
from pydantic import BaseModel

environment_key = secret_from_env("MMRAG_API_KEY", default=None)
"""Reads ``MMRAG_API_KEY``; None if it is not set."""


class KeylessPickle(BaseModel):
    """A model that pickles its settings alone: no key, no sockets, no loaded weights.

    Whoever unpickles it reads the key from their own environment.
    """

    def __getstate__(self) -> dict[Any, Any]:
        """Return the settings without the key."""
        state = super().__getstate__()
        return {**state, "__dict__": {**state["__dict__"], "api_key": None}, "__pydantic_private__": None}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        defaults = {name: attribute.get_default() for name, attribute in self.__private_attributes__.items()}
        super().__setstate__({**state, "__pydantic_private__": defaults})
        self.__dict__["api_key"] = environment_key()
