"""What stands on a span: pure functions from our objects to OpenInference's flat attributes.

Names are those of ``openinference-semantic-conventions`` 0.1 (a test compares them), written out here so that
nobody has to install that package. Decisions:

* *Room.* The SDK keeps 128 attributes a span and drops the oldest. Lists of documents and of a message's
  parts end before that; ``OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT`` raises it, and how many were left out is told.
* *Hidden text is* ``__REDACTED__``, as OpenInference writes it; ids, scores and counts stay.
* *Pictures in a prompt* are kept up to ``OPENINFERENCE_BASE64_IMAGE_MAX_LENGTH`` letters (32,000).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from mmrag.types import Candidate

KIND = "openinference.span.kind"
INPUT, INPUT_TYPE = "input.value", "input.mime_type"
OUTPUT, OUTPUT_TYPE = "output.value", "output.mime_type"
METADATA = "metadata"
RETRIEVAL_DOCUMENTS = "retrieval.documents"
RERANKER_MODEL, RERANKER_QUERY, RERANKER_TOP_K = "reranker.model_name", "reranker.query", "reranker.top_k"
RERANKER_INPUT, RERANKER_OUTPUT = "reranker.input_documents", "reranker.output_documents"
EMBEDDING_MODEL, EMBEDDINGS, EMBEDDING_TEXT = (
    "embedding.model_name",
    "embedding.embeddings",
    "embedding.text",
)
DOCUMENT_ID, DOCUMENT_SCORE = "document.id", "document.score"
DOCUMENT_CONTENT, DOCUMENT_METADATA = "document.content", "document.metadata"
LLM_MODEL, LLM_SETTINGS = "llm.model_name", "llm.invocation_parameters"
LLM_INPUT, LLM_OUTPUT = "llm.input_messages", "llm.output_messages"
MESSAGE_ROLE, MESSAGE_CONTENT, MESSAGE_CONTENTS = "message.role", "message.content", "message.contents"
PART_TYPE, PART_TEXT = "message_content.type", "message_content.text"
PART_IMAGE = "message_content.image.image.url"
TOKENS = {
    "prompt_tokens": "llm.token_count.prompt",
    "completion_tokens": "llm.token_count.completion",
    "total_tokens": "llm.token_count.total",
}
JSON_TYPE = "application/json"
HIDDEN_TEXT = "__REDACTED__"

OWN_ATTRIBUTES = 24
"""Room for what is no list: kind, question, model, tokens, session."""

Attributes: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Content:
    """Which text may stand on spans, and how much of it.

    Attributes:
        inputs: questions, prompts, and the pages given to rerankers.
        outputs: answers, replies, and the pages found.
        image_letters: longest picture of a prompt, as letters of base64.
        most: attributes that a span keeps.
    """

    inputs: bool = True
    outputs: bool = True
    image_letters: int = 32_000
    most: int = 128

    @classmethod
    def of_environment(cls) -> Content:
        """Read OpenInference's variables and ours: ``MMRAG_TRACE_CONTENT=off`` hides all text."""
        is_on = os.environ.get("MMRAG_TRACE_CONTENT", "").strip().lower() not in ("0", "off", "false", "no")
        return cls(
            inputs=is_on and not _is_set("OPENINFERENCE_HIDE_INPUTS"),
            outputs=is_on and not _is_set("OPENINFERENCE_HIDE_OUTPUTS"),
            image_letters=_number("OPENINFERENCE_BASE64_IMAGE_MAX_LENGTH", 32_000),
            most=_number("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", _number("OTEL_ATTRIBUTE_COUNT_LIMIT", 128)),
        )

    @property
    def is_whole(self) -> bool:
        """Whether nothing is hidden, so that an error may be repeated in its own words."""
        return self.inputs and self.outputs

    @property
    def room(self) -> int:
        """Return how many attributes lists may take."""
        return max(0, self.most - OWN_ATTRIBUTES)


def _is_set(name: str) -> bool:
    return os.environ.get(name, "").strip().lower() in ("true", "1")


def _number(name: str, default: int) -> int:
    value = os.environ.get(name, "").strip()
    return int(value) if value.isdigit() else default


def as_json(value: object) -> str:
    """Return JSON of any value; what JSON lacks becomes its text."""
    return json.dumps(value, ensure_ascii=False, default=str)


def document_attributes(
    prefix: str, candidates: Sequence[Candidate], *, has_text: bool, room: int
) -> Attributes:
    """Return ids, scores, and with `has_text` texts and metadata, of as many candidates as have room."""
    attributes: Attributes = {}
    width = 4 if has_text else 2
    for position, candidate in enumerate(candidates[: room // width]):
        at = f"{prefix}.{position}"
        attributes[f"{at}.{DOCUMENT_ID}"] = candidate.id
        attributes[f"{at}.{DOCUMENT_SCORE}"] = float(candidate.score)
        if has_text:
            attributes[f"{at}.{DOCUMENT_CONTENT}"] = candidate.record.text
            attributes[f"{at}.{DOCUMENT_METADATA}"] = as_json(_metadata(candidate))
    return attributes


def _metadata(candidate: Candidate) -> dict[str, Any]:
    """Return a record's metadata without what is ours alone, and the scores by stage."""
    metadata = {name: value for name, value in candidate.record.metadata.items() if not name.startswith("_")}
    scores = {stage: round(score, 6) for stage, score in candidate.scores.items()}
    return {**metadata, "scores": scores} if scores else metadata


def ranking_value(candidates: Iterable[Candidate]) -> str:
    """Return ids and scores as JSON."""
    return as_json(
        [{"id": candidate.id, "score": round(float(candidate.score), 6)} for candidate in candidates]
    )


def request_attributes(body: Mapping[str, Any], content: Content) -> Attributes:
    """Return model, settings and messages of a chat request."""
    settings = {name: value for name, value in body.items() if name not in ("model", "messages")}
    attributes: Attributes = {LLM_SETTINGS: as_json(settings)}
    if body.get("model"):
        attributes[LLM_MODEL] = str(body["model"])
    messages = [message for message in body.get("messages", ()) if isinstance(message, Mapping)]
    chat = [_shown_message(message, content) for message in messages]
    attributes[INPUT], attributes[INPUT_TYPE] = (
        (as_json({"messages": chat}), JSON_TYPE) if content.inputs else (HIDDEN_TEXT, "text/plain")
    )
    for position, message in enumerate(chat):
        for name, value in _message_attributes(f"{LLM_INPUT}.{position}", message, content.inputs).items():
            if len(attributes) < content.room:
                attributes[name] = value
    return attributes


def reply_attributes(
    model: object, text: str, tokens: Mapping[str, Any], content: Content, finish_reason: str | None = None
) -> Attributes:
    """Return text and token counts of a chat reply."""
    attributes: Attributes = {
        OUTPUT: text if content.outputs else HIDDEN_TEXT,
        OUTPUT_TYPE: "text/plain",
        f"{LLM_OUTPUT}.0.{MESSAGE_ROLE}": "assistant",
    }
    if content.outputs:
        attributes[f"{LLM_OUTPUT}.0.{MESSAGE_CONTENT}"] = text
    if isinstance(model, str) and model:
        attributes[LLM_MODEL] = model
    if finish_reason:
        attributes["llm.finish_reason"] = finish_reason
    counts = {name: value for name, value in tokens.items() if name in TOKENS and isinstance(value, int)}
    if counts and "total_tokens" not in counts:
        counts["total_tokens"] = sum(counts.values())
    return attributes | {TOKENS[name]: value for name, value in counts.items()}


def _shown_message(message: Mapping[str, Any], content: Content) -> dict[str, Any]:
    """Return a message whose long pictures are left out."""
    parts = message.get("content")
    if not isinstance(parts, list):
        return dict(message)
    return {**message, "content": [_shown_part(part, content) for part in parts]}


def _shown_part(part: Any, content: Content) -> Any:  # noqa: ANN401  what a server takes
    if not isinstance(part, Mapping) or not isinstance(part.get("image_url"), Mapping):
        return part
    url = str(part["image_url"].get("url", ""))
    return {**part, "image_url": {"url": url if len(url) <= content.image_letters else HIDDEN_TEXT}}


def _message_attributes(prefix: str, message: Mapping[str, Any], has_text: bool) -> Attributes:
    attributes: Attributes = {f"{prefix}.{MESSAGE_ROLE}": str(message.get("role", ""))}
    text = message.get("content")
    if not has_text or text is None:
        return attributes
    if not isinstance(text, list):
        return attributes | {f"{prefix}.{MESSAGE_CONTENT}": str(text)}
    for position, part in enumerate(text):
        at = f"{prefix}.{MESSAGE_CONTENTS}.{position}"
        if isinstance(part, Mapping) and isinstance(part.get("image_url"), Mapping):
            attributes |= {f"{at}.{PART_TYPE}": "image", f"{at}.{PART_IMAGE}": part["image_url"]["url"]}
        elif isinstance(part, Mapping):
            attributes |= {f"{at}.{PART_TYPE}": "text", f"{at}.{PART_TEXT}": str(part.get("text", ""))}
    return attributes
