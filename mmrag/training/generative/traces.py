"""Traces of the stage `reason`, from the cache of the `TraceWriter` that asked the teacher."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mmrag.embedders.base import Content
from mmrag.rerank.traces import Trace, TraceWriter
from mmrag.training.config import ReasonConfig
from mmrag.training.data import Pictures, Side
from mmrag.training.generative.examples import TraceExample
from mmrag.types import Page, Query, Source

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger(__name__)

UNUSED_URL = "http://127.0.0.1:9"  # never contacted, and part of no key; TraceWriter requires a URL


def trace_writer(config: ReasonConfig, cache: str | None) -> TraceWriter:
    """Return a `TraceWriter` for its prompts and its cache alone; it never contacts a server.

    Args:
        config: its settings.
        cache: its folder, or None.
    """
    return TraceWriter(
        UNUSED_URL,
        config.teacher or "teacher",
        max_tokens=config.max_tokens,
        temperature=config.temperature,
        images=config.images,
        image_pixels=config.image_pixels,
        text_chars=config.text_chars,
        prompts=config.prompts,
        cache=cache,
        render=_blank_picture,
    )


def with_traces(
    examples: Sequence[TraceExample], config: ReasonConfig, pictures: Pictures
) -> list[TraceExample]:
    """Look up the traces that the examples lack, and return the examples with a whole trace.

    Examples without a trace, or with one that was cut off at its length limit, are left out and counted in
    the log.

    Args:
        examples: as read.
        config: names the cache folder and the teacher.
        pictures: opens pictures, which are part of the cache's keys.

    Raises:
        ValueError: a trace must be looked up but no folder or no teacher is configured, or no example has
            a whole trace.
    """
    must_look_up = any(example.trace is None for example in examples)
    if must_look_up and (config.traces is None or config.teacher is None):
        raise ValueError(
            "an input must bring its trace, or reason: traces and reason: teacher must name the cache of a "
            f"TraceWriter and its model, got traces={config.traces!r}, teacher={config.teacher!r}. The "
            "teacher is the model's name at its server."
        )
    writer = trace_writer(config, config.traces)
    whole: list[TraceExample] = []
    without = cut = 0
    for example in examples:
        trace = example.trace or _cached_trace(writer, example, pictures)
        if trace is None or not trace.text:
            without += 1
        elif trace.cut:
            cut += 1
        else:
            whole.append(replace(example, trace=trace))
    if without or cut:
        logger.warning(
            "of %d inputs %d have no trace and %d one that was cut off: left out", len(examples), without, cut
        )
    if not whole:
        raise ValueError(
            f"at least one input must have a whole trace, got {len(examples)} without. Traces are found by "
            "content, prompt, teacher and settings: give the reason: section the settings of the TraceWriter."
        )
    return whole


def _cached_trace(writer: TraceWriter, example: TraceExample, pictures: Pictures) -> Trace | None:
    """Return the trace in the writer's cache, or None."""
    content = example.content
    if example.side == "query":
        query = Query(content.text or None, pictures.open(content), instruction=example.instruction or None)
        requests = writer.query_requests(query)()
    elif content.file is not None and example.sha256:
        requests = writer.document_requests(page_of(content, None, example.sha256))()
    elif content.has_picture:
        requests = writer.document_requests(Content(content.text, pictures.open(content)))()
    else:
        requests = writer.document_requests(content.text)()
    try:
        next(requests)
    except StopIteration as end:
        trace: Trace = end.value
        return trace
    requests.close()
    return None


def page_of(side: Side, picture: Image | None, sha256: str = "") -> Page:
    """Return a side as a page of its file.

    Args:
        side: with a file or an image.
        picture: of the page, or None.
        sha256: of the file.
    """
    file = side.file or side.image or ""
    source = Source(sha256, "image", file, file)
    return Page(side.key, side.key, side.page or 0, "", side.text, (), (0.0, 0.0), source, image=picture)


def _blank_picture(page: Page, pixels: int) -> Image:
    """Return a picture for requests that are never sent."""
    from PIL import Image as PILImage

    del page, pixels
    return PILImage.new("RGB", (1, 1))
