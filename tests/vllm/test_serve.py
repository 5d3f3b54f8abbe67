"""`mmrag serve` with the real vLLM, and the servers that the other tests of this folder are given."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from mmrag.errors import ServerUnreachableError
from mmrag.serving.client import ServerClient
from mmrag.serving.vllm.process import free_port

SERVE = (sys.executable, "-m", "mmrag.cli", "serve")


def picture(text: str) -> dict:
    """A page picture as a part of a request."""
    image = Image.new("RGB", (320, 200), "white")
    ImageDraw.Draw(image).text((10, 90), text, fill="black")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


@pytest.fixture
def client(request: pytest.FixtureRequest):
    """A client of the server that the test names."""
    server = next(request.getfixturevalue(name) for name in request.fixturenames if name.endswith("_server"))
    with ServerClient(server.url, model=server.model, api_key="", timeout=180.0) as client:
        yield client


# ------------------------------------------------------------------------- what the servers can do


def judged(client: ServerClient, content: object) -> dict:
    """A yes/no judgement of one token; the choice with its log-probabilities."""
    return client.chat(
        {
            "messages": [{"role": "user", "content": content}],
            "max_tokens": 1,
            "temperature": 0.0,
            "logprobs": True,
            "top_logprobs": 2,
            "structured_outputs": {"choice": ["yes", "no"]},
        }
    )["choices"][0]


def test_the_tiny_model_sees(tiny_vl_server, client: ServerClient) -> None:
    ask = {"type": "text", "text": "Is the page about sales?"}
    seen = [judged(client, [picture(words), ask]) for words in ("sales", "cats")]
    assert {choice["message"]["content"] for choice in seen} <= {"yes", "no"}
    first, second = (choice["logprobs"]["content"][0]["logprob"] for choice in seen)
    assert first != pytest.approx(second, abs=1e-6), "two pictures, one score: it does not look at them"


def test_the_tiny_model_obeys_a_schema(tiny_vl_server, client: ServerClient) -> None:
    schema = {
        "type": "object",
        "properties": {"page": {"type": "integer"}},
        "required": ["page"],
        "additionalProperties": False,
    }
    body = {
        "messages": [{"role": "user", "content": "Which page?"}],
        "max_tokens": 60,
        "temperature": 0.0,
        "structured_outputs": {"regex": r'\{"page": [0-9]\}'},
    }
    assert 0 <= json.loads(client.chat(body)["choices"][0]["message"]["content"])["page"] <= 9
    del body["structured_outputs"]
    body["response_format"] = {"type": "json_schema", "json_schema": {"name": "page", "schema": schema}}
    text = client.chat(body)["choices"][0]["message"]["content"]
    assert re.match(r'\{"page":', text)  # white space is not allowed; the number may not end in time


def test_the_tiny_models_yes_and_no_are_single_tokens(tiny_vl_server, client: ServerClient) -> None:
    for word in ("yes", "no", "<think>", "</think>"):
        body = {"model": client.model, "prompt": word, "add_special_tokens": False}
        assert client.post("/tokenize", body)["count"] == 1


def test_the_pooling_server_ranks_texts_and_pictures(tiny_pooling_server, client: ServerClient) -> None:
    documents = ["Net sales fell.", {"content": [picture("Net sales fell.")]}, "Cats."]
    body = {"model": client.model, "query": "How did sales change?", "documents": documents}
    results = client.post("/rerank", body)["results"]
    assert sorted(result["index"] for result in results) == [0, 1, 2]
    scores = [result["relevance_score"] for result in results]
    assert scores == sorted(scores, reverse=True)
    assert len({round(score, 6) for score in scores}) == 3
    body = {"model": client.model, "queries": body["query"], "documents": documents[0]}
    one = client.post("/score", body)["data"][0]["score"]
    by_index = {result["index"]: result["relevance_score"] for result in results}
    assert one == pytest.approx(by_index[0], abs=1e-4)


def test_the_reranker_and_the_chat_agree_on_a_prompt(
    tiny_pooling_server, client: ServerClient, vllm_python
) -> None:
    """The score is sigmoid(yes - no) of the same weights on the recipe's prompt, by transformers.

    Wrong overrides or a wrong template still give scores; only this tells.
    """
    query, document = "How did sales change?", "Net sales fell."
    body = {"model": client.model, "queries": query, "documents": document}
    served = client.post("/score", body)["data"][0]["score"]
    prompt = (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the "
        'Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
        "<Instruct>: Given a search query, retrieve relevant candidates that answer the query."
        f"<Query>:{query}\n<Document>:{document}<|im_end|>\n<|im_start|>assistant\n"
    )
    code = """
import sys, torch
from transformers import AutoTokenizer, Qwen3VLForConditionalGeneration
folder, prompt = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
with torch.no_grad():
    logits = model(input_ids=tokenizer(prompt, return_tensors="pt").input_ids).logits[0, -1]
yes, no = tokenizer.convert_tokens_to_ids(["yes", "no"])
print(torch.sigmoid(logits[yes] - logits[no]).item())
"""
    run = subprocess.run(
        [vllm_python, "-c", code, tiny_pooling_server.model_dir, prompt],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert served == pytest.approx(float(run.stdout.split()[-1]), abs=1e-3)


def test_smollm2_knows_words(smol_server, client: ServerClient) -> None:
    body = {"prompt": "The capital of France is", "max_tokens": 5, "temperature": 0.0, "model": client.model}
    assert "Paris" in client.post("completions", body)["choices"][0]["text"]


# -------------------------------------------------------------------------------------- the command


def of_group(group: int) -> list[int]:
    """Processes of a group that run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rsplit(")", 1)[1].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its_group) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_the_command_serves_vectors_and_stops_whole(vllm_keeper, vllm_models, vllm_python) -> None:
    vllm_keeper.stop()  # one server at a time
    port = free_port()
    model, python = str(vllm_models / "tiny-qwen3-vl"), str(vllm_python)
    ours = [model, "--mode", "embed", "--python", python, "--port", str(port), "--timeout", "300", "--json"]
    process = subprocess.Popen(
        [*SERVE, *ours, "--", "--enforce-eager", "--max-model-len", "2048"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "VLLM_CPU_KVCACHE_SPACE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        said = json.loads(line)
        (head,) = children(process.pid)
        tree = of_group(head)
        assert len(tree) > 1, "vLLM should be several processes in one group"
        client = ServerClient(said["url"], api_key="", timeout=180.0, max_retries=0)
        reply = client.post("embeddings", {"model": said["model"], "input": "net sales"})
        assert len(reply["data"][0]["embedding"]) == 128
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        print(f"ready after {said['seconds']} s, stopped in {time.monotonic() - started:.1f} s")
    finally:
        if process.poll() is None:
            process.terminate()  # killed, it could not stop its server
            process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    ended = time.monotonic() + 20  # a killed process may take a moment
    while of_group(head) and time.monotonic() < ended:
        time.sleep(0.1)
    assert of_group(head) == []
    with pytest.raises(ServerUnreachableError):
        client.models()


def test_a_model_that_vllm_refuses_shows_why(vllm_keeper, vllm_models, vllm_python, tmp_path: Path) -> None:
    vllm_keeper.stop()
    model, log = str(vllm_models / "tiny-qwen3-vl"), str(tmp_path / "log")
    ours = [model, "--python", str(vllm_python), "--port", "0", "--log", log]
    run = subprocess.run(
        [*SERVE, *ours, "--", "--max-model-len", "999999"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert "the server ended before it was ready" in run.stderr
    assert "999999" in run.stderr, "the reason should stand among the log's last lines"
