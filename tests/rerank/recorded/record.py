"""Records what a real vLLM answers: ``python tests/rerank/recorded/record.py URL KIND``.

KIND is ``generate`` (any chat model), ``thinking`` (one with ``--reasoning-parser`` and a template that
opens a thought) or ``pooling`` (``--runner pooling``). The replies here are those of vLLM 0.32.0 on the CPU
with the tiny random Qwen3-VL of ``scripts/make_test_models.py``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mmrag.errors import ServerStatusError
from mmrag.rerank import request as r
from mmrag.serving.client import ServerClient

QUESTION = [{"role": "system", "content": "Judge."}, {"role": "user", "content": "Is it?"}]
PICTURE = {"type": "image_url", "image_url": None, "uuid": "never-sent"}


def main(url: str, kind: str) -> None:
    client = ServerClient(url)
    model = client.model_name()

    def keep(name: str, path: str, body: dict) -> dict:
        try:
            reply = client.post(path, {"model": model, **body})
        except ServerStatusError as error:
            reply = {"status": error.status, "body": json.loads(error.body)}
        Path(__file__).with_name(f"{name}.json").write_text(json.dumps(reply, indent=1), encoding="utf-8")
        return reply

    if kind == "pooling":
        keep("rerank", "/rerank", {"query": "a query", "documents": ["one", "two", "three"]})
        return
    yes, no = (
        client.post("/tokenize", {"model": model, **r.text_tokens_body(w)})["tokens"][0]
        for w in ("yes", "no")
    )
    counted = keep(f"{kind}_tokenize", "/tokenize", r.count_body(QUESTION, {}, words=True))
    if kind == "thinking":
        keep("thinking_thought", "chat/completions", r.thought_body(QUESTION, 12, {}))
        whole = [*QUESTION, r.thought_message("So it is.")]
        keep("thinking_yes_no", "chat/completions", r.answer_body(whole, [yes, no], {}))
        keep("thinking_order", "chat/completions", r.order_body(whole, 3, {}))
        return
    keep("thought", "chat/completions", r.thought_body(QUESTION, 12, {}))
    keep("yes_no", "chat/completions", r.answer_body(QUESTION, [yes, no], {}))
    keep("order", "chat/completions", r.order_body(QUESTION, 3, {}))
    keep("likelihood", "completions", r.likelihood_body(counted["tokens"][:8]))
    keep(
        "picture_lost",
        "chat/completions",
        r.answer_body([{"role": "user", "content": [PICTURE]}], [1, 2], {}),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
