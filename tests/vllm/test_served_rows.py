"""The plugin in the real vLLM, against the local model: rows, fingerprint, faults."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mmrag.embedders.base import Content
from mmrag.errors import BadInputError
from mmrag.models.mllm_embedder import MLLMEmbedder
from mmrag.models.served.embedder import ServedMLLMEmbedder
from mmrag.types import Budget

from .conftest import models_folder

TOLERANCE = 1e-3  # float16 on the way rounds numbers near 1 to 5e-4; what is left is two orders of sums


@pytest.fixture(scope="module")
def local(rows_server) -> MLLMEmbedder:
    return MLLMEmbedder.from_pretrained(rows_server.model_dir, allow_untrained=True, dtype="float32")


@pytest.fixture(scope="module")
def embedder(rows_server) -> ServedMLLMEmbedder:
    return ServedMLLMEmbedder(rows_server.url, api_key="", allow_untrained=True)


def page(seed: int, size: tuple[int, int] = (620, 877)) -> Image.Image:
    """A page of words in many colours and places."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for _ in range(60):
        place = tuple(int(rng.integers(0, side)) for side in size)
        draw.text(place, f"sales {rng.integers(0, 9999)}", fill=tuple(map(int, rng.integers(0, 200, 3))))
    return image


DOCUMENTS = [
    "net sales <|image_pad|> fell <|im_end|>",
    Content(image=page(1)),
    Content(image=page(2, (900, 300))),
    Content(text="a chart", image=page(3, (333, 555))),
    Content(parts=(page(4, (100, 800)), "between", page(5, (400, 400))), thought="two pictures"),
    "",
    "long " * 1500,  # read in pieces
]


def assert_same(found, expected, tolerance: float = TOLERANCE) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance)


def test_the_fingerprint_is_the_local_one(embedder, local) -> None:
    assert embedder.fingerprint == local.fingerprint
    assert (embedder.dim, embedder.budget) == (local.dim, local.budget) == (64, Budget(16, 64))


def test_documents_and_queries_are_the_local_ones_alone_and_together(embedder, local) -> None:
    expected = local.encode_document(DOCUMENTS)
    assert_same(embedder.encode_document(DOCUMENTS), expected)
    alone = [embedder.encode_document([document])[0] for document in DOCUMENTS]
    assert_same(alone, expected)
    queries = ["How did sales change?", "cats"]
    assert_same(embedder.encode_query(queries), local.encode_query(queries))


def test_pictures_and_compression_are_seen(embedder, local, rows_server) -> None:
    """Agreement says nothing where nothing matters: other pictures and no compression give other rows."""
    first, second = embedder.encode_document([Content(image=page(1)), Content(image=page(6))])
    assert np.abs(first - second).max() > 20 * TOLERANCE
    plain = MLLMEmbedder.from_pretrained(
        rows_server.model_dir, allow_untrained=True, dtype="float32", compression=1, max_visual_tokens=320
    )
    assert np.abs(first - plain.encode_document([Content(image=page(1))])[0]).max() > 20 * TOLERANCE


def test_fewer_rows_and_int8_rows(rows_server, embedder, local) -> None:
    expected = [matrix[:4] for matrix in local.encode_document(DOCUMENTS[:4])]
    for form, tolerance in (("float16", TOLERANCE), ("int8", 0.01)):
        small = ServedMLLMEmbedder(
            rows_server.url, api_key="", allow_untrained=True, budget=Budget(2, 4), form=form
        )
        assert_same(small.encode_document(DOCUMENTS[:4]), expected, tolerance)


def test_many_threads_and_a_picture_that_is_none(embedder, local) -> None:
    documents = [Content(image=page(seed, (200 + 37 * seed, 300))) for seed in range(12)]
    line = Content(image=Image.new("RGB", (1, 900)))
    with pytest.raises(BadInputError, match="200 times as long as wide"):
        embedder.encode_document([*documents, line])
    found = embedder.encode_document([*documents, line], on_error="skip")
    assert list(found.skipped) == [12]
    assert_same(found[:12], local.encode_document(documents))


def test_the_server_refuses_what_is_no_request(rows_server) -> None:
    data = {"side": "query", "rows": 17, "form": "int8", "inputs": [{"parts": [{"text": "a"}]}]}
    for change, message in (
        ({}, "rows must be at most 16 for a query"),
        ({"rows": 1, "form": "float64"}, "form must be one of"),
    ):
        body = {"model": rows_server.model, "task": "plugin", "data": {**data, **change}}
        request = urllib.request.Request(
            f"{rows_server.url}/pooling", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(request, timeout=60)
        assert error.value.code == 400 and message in error.value.read().decode()


def test_an_index_of_the_server_opens_with_the_local_model(rows_server, local, embedder, tmp_path) -> None:
    from mmrag.pipeline import DocumentQA

    page(1).save(tmp_path / "a.png")
    page(2).save(tmp_path / "b.png")
    with DocumentQA.open(tmp_path / "index", embedder=embedder, reranker=None) as qa:
        assert qa.add([tmp_path / "a.png", tmp_path / "b.png"]).pages == 2
    with DocumentQA.open(tmp_path / "index", embedder=local, reranker=None) as qa:
        assert len(qa.search("sales").candidates) == 2


def test_another_model_says_that_it_needs_the_plugin(tmp_path: Path, vllm_models: Path) -> None:
    """`mmrag serve --mode embed` plans the plugin for a checkpoint of ours and not for another model."""
    command = [sys.executable, "-m", "mmrag.cli", "serve", "--mode", "embed", "--print", "--json"]
    environment = {**os.environ, "MMRAG_VLLM_PYTHON": str(models_folder().parent / "bin" / "python")}
    run = subprocess.run(
        [*command, str(vllm_models / "tiny-qwen3-vl")], capture_output=True, text=True, env=environment
    )
    assert run.returncode == 0 and "--io-processor-plugin" not in run.stdout


def test_tiles_of_the_other_backbone(tiles_server) -> None:
    """InternVL3: the tiles, their compression and the fingerprint are the local model's."""
    served = ServedMLLMEmbedder(tiles_server.url, api_key="", allow_untrained=True)
    local = MLLMEmbedder.from_pretrained(tiles_server.model_dir, allow_untrained=True, dtype="float32")
    assert served.fingerprint == local.fingerprint
    expected = local.encode_document(DOCUMENTS)
    assert_same(served.encode_document(DOCUMENTS), expected)
    assert_same(served.encode_query(["How did sales change?"]), local.encode_query(["How did sales change?"]))
    first, second = served.encode_document([Content(image=page(1)), Content(image=page(6))])
    assert np.abs(first - second).max() > 5 * TOLERANCE
