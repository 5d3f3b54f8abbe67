"""Laws of the served embedder: prompts, rows and fingerprint are the local embedder's, and faults are told.

The real vLLM runs in ``tests/vllm/test_served_rows.py``. Here its place is taken by `RowServer`, which has
the server's half of our code and the local model: it cannot show that vLLM's forward pass is right, and
shows everything before and after it.
"""

from __future__ import annotations

import base64
import json
import pickle
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmrag.embedders.base import Content
from mmrag.errors import BadInputError, ServerAnswerError, ServerStatusError, ServerUnreachableError
from mmrag.models.fingerprint import fingerprint
from mmrag.models.inputs import Item
from mmrag.models.load import served_embedder
from mmrag.models.mllm_embedder import MLLMEmbedder
from mmrag.models.served.checkpoint import ServedCheckpoint
from mmrag.models.served.embedder import ServedMLLMEmbedder
from mmrag.models.served.wire import item_data, read_matrices, read_request, reply_data, request_data
from mmrag.types import Budget, Query

BUDGET = Budget(4, 8)


@pytest.fixture(scope="module")
def make_checkpoint(
    tiny_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Checkpoints of ours: random tables and projection on a tiny backbone of a family."""

    def make(family: str) -> Path:
        embedder = MLLMEmbedder.from_pretrained(
            tiny_folder(family),
            allow_untrained=True,
            budget=BUDGET,
            dim=24,
            max_visual_tokens=80 if family == "internvl" else 12,
            dtype="float32",
        )
        path = tmp_path_factory.mktemp("served") / "tiny"
        embedder.save_pretrained(path)
        return path

    return make


@pytest.fixture(scope="module")
def folder(make_checkpoint: Callable[[str], Path]) -> Path:
    return make_checkpoint("qwen3_vl")


@pytest.fixture(scope="module")
def local(folder: Path) -> MLLMEmbedder:
    return MLLMEmbedder.from_pretrained(folder, allow_untrained=True, dtype="float32")


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> ServedCheckpoint:
    return ServedCheckpoint(folder, name="tiny", settings={"allow_untrained": True})


def picture(seed: int, size: tuple[int, int] = (150, 210)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1] // 10, size[0] // 10, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size)


class RowServer:
    """`POST /pooling` of the plugin, with the local model in the place of vLLM's."""

    def __init__(self, checkpoint: ServedCheckpoint, model: MLLMEmbedder) -> None:
        self.checkpoint, self.model = checkpoint, model
        self.change: Callable[[dict], dict] = lambda reply: reply
        self.refuse: Callable[[list[Item]], bool] = lambda items: False
        self.requests: list[dict] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.send(200, {"data": [{"id": "tiny"}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.requests.append(body)
                try:
                    self.send(200, {"data": outer.change(outer.answer(body["data"]))})
                except ValueError as error:
                    self.send(400, {"error": {"message": str(error)}})

            def send(self, status: int, value: dict) -> None:
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, data: dict) -> dict:
        request = read_request(data)
        items = list(request.items)
        if items and self.refuse(items):
            raise ValueError("input 0: it is refused.")
        prompts = [self.checkpoint.prompt(item, request.side, request.rows) for item in items]
        encoder = self.model._encoder
        ready = [encoder.prepare(item, request.side) for item in request.items]
        found = dict(encoder.encode(ready, request.side, request.rows, 4))
        matrices = [found[at] for at in range(len(items))]
        cut = [prompt.cut for prompt in prompts]
        return reply_data(self.checkpoint.identity(), matrices, cut, request.form)


@pytest.fixture
def server(checkpoint: ServedCheckpoint, local: MLLMEmbedder):
    server = RowServer(checkpoint, local)
    yield server
    server.http.shutdown()
    server.http.server_close()


def served(server: RowServer, **options) -> ServedMLLMEmbedder:
    options = {"api_key": "", "allow_untrained": True, "max_retries": 0, **options}
    return ServedMLLMEmbedder(server.url, **options)


INPUTS = [
    "net sales <|image_pad|> <|im_end|>",
    Content(image=picture(1)),
    Content(text="a chart", image=picture(2, (400, 90))),
    Content(parts=(picture(3, (60, 300)), "between", picture(4))),
    "",
]


# ---- the server's half -----------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["qwen3_vl", "internvl"])
def test_a_prompt_is_the_local_embedders_with_one_placeholder_a_picture(
    family: str, make_checkpoint: Callable[[str], Path]
) -> None:
    folder = make_checkpoint(family)
    local = MLLMEmbedder.from_pretrained(folder, allow_untrained=True, dtype="float32")
    checkpoint = ServedCheckpoint(folder, name="tiny", settings={"allow_untrained": True})
    pad = local.model.backbone.image_token_id
    items = [
        Item(("net sales <|image_pad|>",), "Find it."),
        Item((picture(1), "a chart", picture(2, (400, 90))), "", "a thought"),
        Item((), ""),
    ]
    for item in items:
        prompt = checkpoint.prompt(item, "document", 8)
        ready = local._encoder.prepare(item, "document")
        backbone, compression = local.model.backbone, local.model.compression
        counts = iter([backbone.token_count(vision, compression) for vision in ready.row.images])
        text = prompt.ids[: len(prompt.ids) - 4 - 8]
        whole = [token for id in text for token in ([id] * next(counts) if id == pad else [id])]
        assert tuple(whole) == ready.row.ids
        for image, vision in zip(prompt.images, ready.row.images, strict=True):
            pixels = backbone.image_processor(images=[image], return_tensors="pt", **prompt.options)
            torch.testing.assert_close(pixels["pixel_values"], vision.pixels)


@pytest.mark.parametrize("family", ["qwen3_vl", "internvl"])
def test_the_digest_of_the_files_is_that_of_the_weights_in_memory(
    family: str, make_checkpoint: Callable[[str], Path]
) -> None:
    folder = make_checkpoint(family)
    local = MLLMEmbedder.from_pretrained(folder, allow_untrained=True, dtype="float32")
    settings = ServedCheckpoint(folder, name="tiny", settings={"allow_untrained": True}).identity()[
        "settings"
    ]
    assert fingerprint(settings, rows=8, page_text=False, thoughts=None) == local.fingerprint


def test_meta_tokens_stand_behind_the_vocabulary_queries_first(checkpoint: ServedCheckpoint) -> None:
    start = checkpoint.vocabulary
    assert checkpoint.meta_ids("query", 2) == (start, start + 1)
    assert checkpoint.meta_ids("document", 2) == (*range(start, start + 4), start + 4, start + 5)
    with pytest.raises(ValueError, match="rows must be at most 4 for a query of this checkpoint, got 5"):
        checkpoint.meta_ids("query", 5)


def test_the_weights_are_not_in_memory(checkpoint: ServedCheckpoint) -> None:
    assert {parameter.device.type for parameter in checkpoint.backbone.model.parameters()} == {"meta"}


@pytest.mark.parametrize(
    ("settings", "most", "message"),
    [
        ({"colour": 1}, None, "mmrag must hold compression, .* got colour"),
        ({}, None, "must be trained to retrieve with, got an untrained table"),
        ({"allow_untrained": True}, 12, "--max-model-len must leave room for an input beside 12 meta tokens"),
    ],
)
def test_a_server_that_cannot_be_is_not_started(folder: Path, settings, most, message) -> None:
    with pytest.raises(ValueError, match=message):
        ServedCheckpoint(folder, name="tiny", settings=settings, most_tokens=most)


def test_another_family_is_refused(tiny_folder: Callable[[str], Path], tmp_path: Path) -> None:
    embedder = MLLMEmbedder.from_pretrained(tiny_folder("qwen2_5_vl"), allow_untrained=True, budget=BUDGET)
    embedder.save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match=r"checkpoints of qwen3_vl, internvl .* got 'qwen2_5_vl'"):
        ServedCheckpoint(tmp_path / "other", name="x", settings={"allow_untrained": True})


def test_a_shorter_context_is_told_and_changes_the_fingerprint(folder: Path) -> None:
    short = ServedCheckpoint(folder, name="tiny", settings={"allow_untrained": True}, most_tokens=113)
    assert short.max_tokens == 100 == short.identity()["max_tokens"]
    prompt = short.prompt(Item(("long " * 500,), ""), "document", 8)
    assert prompt.cut and len(prompt.ids) == 112  # vLLM wants one token less than its limit


# ---- the wire --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "step"), [("float16", 1e-3), ("int8", 1 / 127)])
def test_rows_come_back_as_they_were_sent(form: str, step: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        rows, dim = int(rng.integers(1, 70)), int(rng.integers(2, 130))
        matrix = rng.normal(size=(rows, dim)).astype(np.float32)
        matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
        reply = json.loads(json.dumps(reply_data({}, [matrix, matrix], [False, True], form)))
        found = read_matrices(reply, 2, rows, dim, form)
        np.testing.assert_allclose(found[1], matrix, atol=step)
        np.testing.assert_allclose(np.linalg.norm(found[0], axis=1), 1, atol=1e-5)


def test_an_input_comes_back_as_it_was_sent() -> None:
    item = Item(("text \U0001f642", picture(5)), "do", "hm")
    data = json.loads(json.dumps(request_data([item_data(item)], "query", 3, "int8")))
    request = read_request(data)
    (found,) = request.items
    assert (request.side, request.rows, request.form) == ("query", 3, "int8")
    assert (found.parts[0], found.instruction, found.thought) == (item.parts[0], "do", "hm")
    assert np.array_equal(np.asarray(found.parts[1].convert("RGB")), np.asarray(item.parts[1]))


def jpeg() -> str:
    buffer = BytesIO()
    picture(1).save(buffer, "JPEG")
    return base64.b64encode(buffer.getvalue()).decode()


GOOD = {"side": "query", "rows": 1, "form": "int8", "inputs": [{"parts": [{"text": "a"}]}]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"side": "both"}, "side must be"),
        ({"rows": 0}, "rows must be"),
        ({"rows": True}, "rows must be"),
        ({"form": "float32"}, "form must be"),
        ({"inputs": "a"}, "inputs must be a list"),
        ({"inputs": [{}] * 257}, "at most 256, got 257"),
        ({"inputs": ["a"]}, "input 0 must be an object"),
        ({"inputs": [{"parts": [{"video": "x"}]}]}, "must be a text or an image"),
        ({"inputs": [{"parts": [], "thought": 3}]}, "must be text"),
        ({"inputs": [{"parts": [{"image": "no base64 !"}]}]}, "must be a PNG in base64"),
        ({"inputs": [{"parts": [{"image": "AAAA"}]}]}, "must be a PNG in base64"),
        ({"inputs": [{"parts": [{"image": jpeg()}]}]}, "must be a PNG in base64"),
    ],
)
def test_what_is_no_request_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_request({**GOOD, **change})
    with pytest.raises(ValueError, match="must be a JSON object"):
        read_request([GOOD])


# ---- the caller's half -----------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "step"), [("float16", 1e-3), ("int8", 0.01)])
def test_rows_and_fingerprint_are_the_local_ones(server: RowServer, local: MLLMEmbedder, form, step) -> None:
    embedder = served(server, form=form)
    assert embedder.fingerprint == local.fingerprint
    assert (embedder.dim, embedder.budget, embedder.name) == (24, BUDGET, "tiny (compression 2)")
    for encode in ("encode_document", "encode_query"):
        inputs = INPUTS if encode == "encode_document" else ["a question", Query(image=picture(6))]
        for found, expected in zip(
            getattr(embedder, encode)(inputs), getattr(local, encode)(inputs), strict=True
        ):
            np.testing.assert_allclose(found, expected, atol=step)


async def test_the_async_calls_are_the_same(server: RowServer) -> None:
    embedder = served(server)
    for found, expected in zip(
        await embedder.aencode_document(INPUTS), embedder.encode_document(INPUTS), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_fewer_rows_are_a_prefix_and_have_their_own_fingerprint(server: RowServer, folder: Path) -> None:
    small = Budget(2, 3)
    embedder, whole = served(server, budget=small), served(server)
    local = MLLMEmbedder.from_pretrained(folder, allow_untrained=True, dtype="float32", budget=small)
    assert embedder.fingerprint == local.fingerprint != whole.fingerprint
    (found,), (all_rows,) = embedder.encode_document(["net sales"]), whole.encode_document(["net sales"])
    assert found.shape == (3, 24)
    np.testing.assert_allclose(found, all_rows[:3], atol=1e-3)
    with pytest.raises(ValueError, match=r"budget\.document must be at most 8 .* got 9"):
        served(server, budget=Budget(1, 9)).encode_document(["a"])


def test_texts_share_requests_and_a_picture_has_its_own(server: RowServer) -> None:
    served(server, batch_size=2).encode_document(INPUTS)
    sizes = sorted(len(request["data"]["inputs"]) for request in server.requests)
    assert sizes == [0, 1, 1, 1, 2]  # the identity, three with pictures, two texts


def test_a_page_that_fails_alone_is_named_and_can_be_left_out(server: RowServer) -> None:
    server.refuse = lambda items: any("bad" in str(item.parts) for item in items)
    texts = ["a", "bad", "c"]
    with pytest.raises(BadInputError, match="refused"):
        served(server).encode_document(texts)
    found = served(server, on_error="skip").encode_document(texts)
    assert [matrix is None for matrix in found] == [False, True, False]
    assert list(found.skipped) == [1] and "it is refused" in found.skipped[1]


def test_another_model_behind_the_url_is_an_error(server: RowServer) -> None:
    embedder = served(server)
    embedder.encode_document(["a"])

    def changed(reply: dict) -> dict:
        settings = {**reply["identity"]["settings"], "weights": "other"}
        return {**reply, "identity": {**reply["identity"], "settings": settings, "name": "other"}}

    server.change = changed
    with pytest.raises(ServerAnswerError, match=r"served 'tiny \(compression 2\)' before .* serves 'other'"):
        embedder.encode_document(["a"])


FAULTS = {
    "cut off": (lambda r: {**r, "matrices": r["matrices"][:-1]}, "a matrix for each of 2 inputs, got 1"),
    "no rows": (lambda r: {**r, "matrices": [{"rows": 8}] * 2}, "must give the numbers of each matrix"),
    "other rows": (
        lambda r: {**r, "matrices": [{"numbers": base64.b64encode(bytes(24 * 2)).decode()}] * 2},
        "must give matrices of 8 rows, got 1",
    ),
    "zeros": (
        lambda r: {**r, "matrices": [{"numbers": base64.b64encode(bytes(8 * 24 * 2)).decode()}] * 2},
        "not all zero",
    ),
    "no number of bytes": (
        lambda r: {**r, "matrices": [{"numbers": "AAAA"}] * 2},
        "must give matrices of 8 x 24 numbers",
    ),
    "no identity": (lambda r: {"matrices": []}, "must say what it serves"),
    "tomorrow's protocol": (
        lambda r: {"identity": {**r["identity"], "protocol": 2}},
        "must speak protocol 1",
    ),
    "no width": (lambda r: {"identity": {**r["identity"], "dim": None}}, "must say its dim"),
    "text": (lambda r: "rows", "must answer with an object, got str"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_reply_that_does_not_fit_is_an_error_that_says_how(server: RowServer, fault: str) -> None:
    embedder = served(server)
    assert embedder.dim == 24
    change, message = FAULTS[fault]
    server.change = change
    with pytest.raises(ServerAnswerError, match=message):
        embedder.encode_document(["a", "b"])


def test_an_untrained_checkpoint_is_refused_unless_allowed(server: RowServer) -> None:
    with pytest.raises(ServerAnswerError, match="meta tokens are untrained"):
        _ = served(server, allow_untrained=False).dim


def test_a_server_without_the_plugin_is_told_and_taken_for_single_vectors(fake_server) -> None:
    names = {"data": [{"id": "m"}]}
    fake_server.reply(200, names).reply(404, {"detail": "Not Found"})
    with pytest.raises(ServerStatusError, match="must run vLLM with mmrag's plugin"):
        _ = ServedMLLMEmbedder(fake_server.url, api_key="", max_retries=0).dim
    fake_server.reply(200, names).reply(404, {"detail": "Not Found"})
    assert type(served_embedder(fake_server.url, api_key="")).__name__ == "ServedEmbedder"


def test_a_server_with_the_plugin_is_taken_for_nested_ones(server: RowServer) -> None:
    server.change = lambda reply: {**reply, "identity": {**reply["identity"], "trained": True}}
    embedder = served_embedder(server.url, api_key="")
    assert isinstance(embedder, ServedMLLMEmbedder) and embedder.nested and embedder.budget == BUDGET


def test_a_server_that_is_not_there_is_no_reason_for_single_vectors() -> None:
    with pytest.raises(ServerUnreachableError):
        served_embedder("http://127.0.0.1:9", api_key="")


def test_long_text_is_cut_and_said(server: RowServer, folder: Path, caplog) -> None:
    server.checkpoint = ServedCheckpoint(
        folder, name="tiny", settings={"allow_untrained": True}, most_tokens=213
    )
    server.model = MLLMEmbedder.from_pretrained(folder, allow_untrained=True, dtype="float32", max_tokens=200)
    served(server).encode_document(["short", "long " * 500])
    assert "1 of 2 inputs were longer than max_tokens=200" in caplog.text


def test_a_pickle_carries_no_key(server: RowServer) -> None:
    embedder = served(server, api_key="sk-hidden")
    data = pickle.dumps(embedder)
    assert b"sk-hidden" not in data and "sk-hidden" not in repr(embedder)
    np.testing.assert_allclose(
        pickle.loads(data).encode_document(["a"])[0], embedder.encode_document(["a"])[0], atol=1e-6
    )
