"""Rerankers as both hosts configure them: the settings, said once, and the reranker they mean.

`RerankSettings` is the pydantic base of both ``MMRagThinkRerank`` classes. Fields that neither host reads
itself are passed to `mmrag.ThinkReranker` under the same names; a test holds names and defaults against it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, field_validator

from mmrag.hosts.pages import PageDrawer
from mmrag.images import with_page_renderer
from mmrag.rerank.protocol import Reranker

NEEDS_SERVER = (
    "base_url",
    "model",
    "think_tokens",
    "think_share",
    "text_chars",
    "passes",
    "first",
    "instruction",
    "prompts",
    "traces",
    "cache",
    "extra",
)
"""Settings that only a served model can follow."""


class RerankSettings(BaseModel):
    """Settings of a host's reranker; the reranker itself is made with the settings and kept.

    Raises:
        ValueError: a setting out of its range, or one that the mode does not have.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    top_n: int | None = Field(default=None, ge=1, description="Most items to return; None: all.")
    mode: str | None = Field(
        default=None,
        frozen=True,
        description="As in mmrag.ThinkReranker, or local; None: pointwise, or local without a server.",
    )
    think_tokens: int = Field(
        default=0, frozen=True, description="Most tokens of a thought before each answer; 0: no thought."
    )
    think_share: float = Field(
        default=1.0, frozen=True, description="Share of the items, the least sure, that is thought about."
    )
    model: str | None = Field(
        default=None, frozen=True, description="Name on the server; None: its only model."
    )
    base_url: str | None = Field(default=None, frozen=True, description="The server, with or without /v1.")
    api_key: SecretStr | None = Field(
        default=None, exclude=True, repr=False, frozen=True, description="For the server; never written."
    )
    alpha: float | None = Field(
        default=None,
        frozen=True,
        description="Weight of the retrieval score, 0 to 1; None: 0.5 for local, else 0.",
    )
    instruction: str | None = Field(
        default=None, frozen=True, description="What counts as relevant, in a sentence."
    )
    images: bool = Field(default=True, frozen=True, description="Show the model images.")
    text: bool = Field(default=True, frozen=True, description="Show the text of items that have an image.")
    text_chars: int | None = Field(
        default=None, frozen=True, description="Most characters of a text without an image; None: all."
    )
    image_pixels: int = Field(default=1_000_000, frozen=True, description="Largest area of an image.")
    passes: int = Field(
        default=1, frozen=True, description="Of identifiers; 2 reads the items in reverse, too."
    )
    first: str = Field(default="query", frozen=True, description="What prompts begin with: query, or page.")
    prompts: str | Path | None = Field(
        default=None, frozen=True, description="Folder of prompt files to use instead of ours."
    )
    traces: Any = Field(
        default=None, exclude=True, repr=False, frozen=True, description="A TraceWriter, for ecrr and qar."
    )
    cache: str | Path | None = Field(default=None, frozen=True, description="Folder that keeps replies.")
    on_error: str = Field(
        default="raise", frozen=True, description="raise, or keep: the prior order if the server fails."
    )
    timeout: float = Field(default=300.0, frozen=True, description="Seconds that a request may take.")
    max_retries: int = Field(default=2, frozen=True, description="Attempts after the first.")
    max_concurrency: int = Field(default=8, frozen=True, description="Requests in flight at once.")
    extra: dict[str, Any] | None = Field(
        default=None, frozen=True, description="Further keys of chat requests."
    )
    keep_thought: bool = Field(
        default=False, description="Put the text before the answer into metadata, as thought."
    )
    reranker: Any = Field(
        default=None,
        exclude=True,
        repr=False,
        frozen=True,
        description="A ready reranker of mmrag instead of all of these.",
    )

    _reranker: Reranker | None = PrivateAttr(default=None)
    _drawer: PageDrawer = PrivateAttr(default_factory=PageDrawer)

    @field_validator("prompts", "cache", mode="before")
    @classmethod
    def _folder(cls, value: Any) -> Any:  # noqa: ANN401  not validated yet
        return os.fspath(value) if isinstance(value, os.PathLike) else value

    def model_post_init(self, context: Any, /) -> None:  # noqa: ANN401  pydantic's signature
        """Make the reranker, so that a wrong setting is refused now and not at the first question."""
        self._reranker = self._make_reranker()

    @property
    def core(self) -> Reranker:
        """Return the reranker of mmrag that judges."""
        if self._reranker is None:  # unpickled
            self._reranker = self._make_reranker()
        return self._reranker

    @property
    def model_label(self) -> str:
        """Return a name of the model that judges, for people: the server's, the weights', or the mode."""
        weights = getattr(self.core, "model_dir", None)
        name = self.model or getattr(self.core, "name", None) or (weights and Path(weights).name)
        return str(name or self.mode or "pointwise")

    def _make_reranker(self) -> Reranker:
        if self.reranker is not None:
            return ready_reranker(self.reranker, self._drawer, self._changed_settings())
        key = None if self.api_key is None else self.api_key.get_secret_value()
        settings = {name: getattr(self, name) for name in SETTINGS}
        return host_reranker(render=self._drawer, api_key=key, **settings)

    def _changed_settings(self) -> list[str]:
        """List the settings of the reranker that differ from their defaults."""
        fields, names = type(self).model_fields, (*SETTINGS, "api_key")
        defaults = {name: fields[name].get_default(call_default_factory=True) for name in names}
        return [name for name in names if getattr(self, name) != defaults[name]]


SETTINGS = tuple(
    name
    for name in RerankSettings.model_fields
    if name not in ("top_n", "keep_thought", "api_key", "reranker")  # the host's, a secret, all at once
)
"""Fields that `host_reranker` takes as they are."""


def host_reranker(
    base_url: str | None = None,
    *,
    mode: str | None = None,
    alpha: float | None = None,
    render: PageDrawer | None = None,
    **settings: Any,  # noqa: ANN401  those of ThinkReranker, which checks them
) -> Reranker:
    """Return the reranker that a host's settings mean.

    Args:
        base_url: a server; None: the cross-encoder in this process.
        mode: see `mmrag.ThinkReranker`; None: ``"pointwise"``, or ``"local"`` without a server.
        alpha: weight of the retrieval score; None: the mode's own, 0.5 for ``"local"`` and else 0.
        render: draws pages.
        settings: of `ThinkReranker`; ``"local"`` takes none of `NEEDS_SERVER`.

    Raises:
        ValueError: a setting out of its range, or one that the mode does not have.
    """
    if mode is None:
        mode = "local" if base_url is None else "pointwise"
    if mode == "local":
        from mmrag.rerank.local import LocalReranker

        _refuse_for_local({"base_url": base_url, **settings})
        # A host has cut its list already: everything it passes on is to be judged.
        return LocalReranker(alpha=0.5 if alpha is None else alpha, depth=100_000)
    if base_url is None:
        raise ValueError(
            f"mode={mode!r} must have the server's base_url, got None. Start one with: mmrag serve MODEL."
        )
    from mmrag.rerank import ThinkReranker

    if render is not None and "traces" in settings:
        settings["traces"] = with_page_renderer(settings["traces"], render)
    return ThinkReranker(
        base_url, mode=mode, alpha=0.0 if alpha is None else alpha, render=render, **settings
    )


def ready_reranker(reranker: object, render: PageDrawer, settings: Sequence[str]) -> Reranker:
    """Return a user's reranker, or a copy that draws pages if it shows them and has no renderer.

    Args:
        reranker: anything with ``rerank`` and ``arerank``.
        render: draws pages.
        settings: names of settings that were passed as well.

    Raises:
        ValueError: it is no reranker, or `settings` is not empty.
    """
    if settings:
        raise ValueError(f"a ready reranker takes no {' or '.join(settings)}. Set them where it is made.")
    if not isinstance(reranker, Reranker):
        raise ValueError(f"reranker must have rerank and arerank, got {type(reranker).__name__}.")
    return with_page_renderer(reranker, render)


def needs_images(reranker: Reranker) -> bool:
    """Return whether the reranker may need page images. Unknown rerankers are assumed to."""
    from mmrag.rerank.local import LocalReranker

    if isinstance(reranker, LocalReranker):
        return False
    return bool(getattr(getattr(reranker, "settings", None), "images", True))


def _refuse_for_local(settings: Mapping[str, Any]) -> None:
    defaults = {name: RerankSettings.model_fields[name].default for name in NEEDS_SERVER}
    values = {
        name: settings[name]
        for name in NEEDS_SERVER
        if settings.get(name) not in (None, 0, "", defaults[name])
    }
    if values:
        values_text = ", ".join(f"{name}={value!r}" for name, value in values.items())
        raise ValueError(
            f"mode='local' reads text in this process and takes no {' or '.join(values)}, got {values_text}. "
            "Leave it out, or name a server (base_url) and another mode."
        )
