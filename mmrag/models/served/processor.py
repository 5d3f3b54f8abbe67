"""`RowsProcessor`: requests of `ServedMLLMEmbedder` to prompts, rows of the meta tokens to replies.

vLLM calls it in the process that takes requests: `parse_data`, `pre_process`, then, when all prompts of the
request are done, `post_process`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vllm.plugins.io_processors.interface import IOProcessor
from vllm.pooling_params import PoolingParams

from mmrag.models.inputs import Item
from mmrag.models.served.checkpoint import Prompt, ServedCheckpoint
from mmrag.models.served.configuration import folder_of, settings_in
from mmrag.models.served.wire import EmbedRequest, RowsForm, read_request, reply_data

_MOST_OPEN = 4096
"""Requests whose reply is awaited; those that were given up are forgotten in their order."""

_NO_INPUT = Item((), "", "")
"""The input of a request that asks for the identity alone."""


@dataclass(frozen=True, slots=True)
class _OpenRequest:
    """What the reply to a request needs of it."""

    form: RowsForm
    cut: tuple[bool, ...]
    is_empty: bool


class RowsProcessor(IOProcessor):  # type: ignore[misc]  # vLLM is not there for mypy
    """The input and output of a served checkpoint."""

    def __init__(self, vllm_config: Any, renderer: Any) -> None:  # noqa: ANN401
        super().__init__(vllm_config, renderer)
        model_config = vllm_config.model_config
        folder = folder_of(model_config)
        self.checkpoint = ServedCheckpoint(
            folder,
            name=_served_name(model_config, folder.name),
            settings=settings_in(model_config),
            most_tokens=model_config.max_model_len,
        )
        self._identity = self.checkpoint.identity()
        self._open: OrderedDict[str | None, _OpenRequest] = OrderedDict()

    def parse_data(self, data: object) -> EmbedRequest:
        """Read a request.

        Raises:
            ValueError: it is none.
        """
        return read_request(data)

    def merge_pooling_params(self, params: Any = None) -> Any:  # noqa: ANN401
        """Return what each prompt is pooled with."""
        params = params or PoolingParams()
        params.task = "token_embed"
        return params

    def pre_process(
        self,
        prompt: EmbedRequest,
        request_id: str | None = None,
        **options: Any,  # noqa: ANN401
    ) -> Sequence[Any]:
        """Return the prompts of a request.

        Raises:
            ValueError: an input cannot be embedded; says which.
        """
        prompts = [self._prompt(item, at, prompt) for at, item in enumerate(prompt.items or (_NO_INPUT,))]
        cut = tuple(ready_prompt.cut for ready_prompt in prompts)
        self._open[request_id] = _OpenRequest(prompt.form, cut, not prompt.items)
        while len(self._open) > _MOST_OPEN:
            self._open.popitem(last=False)
        return [_vllm_prompt(prompt) for prompt in prompts]

    def _prompt(self, item: Item, at: int, request: EmbedRequest) -> Prompt:
        try:
            return self.checkpoint.prompt(item, request.side, request.rows)
        except ValueError as error:
            raise ValueError(f"input {at}: {error}") from error

    def post_process(
        self,
        model_output: Sequence[Any],
        request_id: str | None = None,
        **options: Any,  # noqa: ANN401
    ) -> dict[str, Any]:
        """Return the reply to a request."""
        request = self._open.pop(request_id)
        matrices = [] if request.is_empty else [output.outputs.data.numpy() for output in model_output]
        return reply_data(self._identity, matrices, request.cut[: len(matrices)], request.form)


def _served_name(model_config: Any, default: str) -> str:  # noqa: ANN401
    """Return the name under which the model is served; the first of several."""
    names = model_config.served_model_name
    return str(names[0] if isinstance(names, list) and names else names or default)


def _vllm_prompt(prompt: Prompt) -> dict[str, Any]:
    vllm_prompt: dict[str, Any] = {"prompt_token_ids": list(prompt.ids)}
    if prompt.images:
        vllm_prompt |= {
            "multi_modal_data": {"image": list(prompt.images)},
            "mm_processor_kwargs": dict(prompt.options),
        }
    return vllm_prompt
