"""Laws of the served embedder: what it sends, what it believes of an answer, what an index made by it needs.

Two servers are asked. `LetterServer` is a real HTTP server on loopback that counts letters; it stands for
what a real model server will not do on demand: count wrongly, answer NaN, change its model between two
answers, refuse base64, shuffle. The laws at the end are held against a live server; start one as
docs/served-embedders.md tells, then::

    MMRAG_TEST_EMBEDDING_SERVER=http://127.0.0.1:8000 python -m pytest tests/embedders/test_served.py

The model may be a tiny random one. ``MMRAG_TEST_EMBEDDING_SERVER_IMAGES=0`` is for one that reads only.
"""

import asyncio
import base64
import copy
import io
import json
import os
import pickle
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image, ImageDraw

import mmrag.embedders.served_wire
import mmrag.images
import mmrag.serving.connection
from mmrag.embedders.base import Content, Embedder
from mmrag.embedders.served import ServedEmbedder
from mmrag.embedders.served_wire import Item, messages, parse_embeddings
from mmrag.errors import (
    IndexMismatchError,
    ServerAnswerError,
    ServerStatusError,
    ServerUnreachableError,
    UnsupportedInputError,
)
from mmrag.models.load import load_embedder
from mmrag.pipeline import DocumentQA
from mmrag.types import Budget, Page, Query, Source

KEY = "sk-very-secret-1234"
BOTH = ("text", "image")
LETTERS = ".abcdefghijklmnopqrstuvwxyz"


def letters(text: str) -> list[float]:
    """How often each of `LETTERS` stands in a text; a picture counts as its own data URL."""
    return [float(text.lower().count(letter)) for letter in LETTERS]


def told(message) -> str:
    """A chat as the text that is embedded."""
    parts = [part for one in message for part in one["content"]]
    return " ".join(part.get("text") or part["image_url"]["url"] for part in parts)


class LetterServer:
    """Embeds by counting letters; `spoil` may change an answer, `status` an HTTP status, by request."""

    def __init__(self) -> None:
        self.models = ["letters"]
        self.requests = []
        self.headers = []
        self.delay = 0.0
        self.until = lambda: True  # a condition that every answer waits for
        self.base64 = "taken"  # or "ignored" or "refused"
        self.spoil = lambda answer, nth: answer
        self.status = lambda body, nth: 200
        self.most_in_flight = self._in_flight = 0
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                server._serve(self)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """A client that hangs up is part of some tests."""

        self._http = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def _serve(self, handler) -> None:
        raw = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        if handler.path == "/v1/models":
            self._send(handler, 200, {"data": [{"id": name} for name in self.models]})
            return
        with self._lock:
            body = json.loads(raw)
            nth = len(self.requests)
            self.requests.append(body)
            self.headers.append(dict(handler.headers))
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
        time.sleep(self.delay)
        for _ in range(12_000):  # one that never comes true ends after a minute
            if self.until():
                break
            time.sleep(0.005)
        status = self.status(body, nth)
        if body.get("encoding_format") == "base64" and self.base64 == "refused":
            status = 400
        answer = {"error": {"message": "no, " + handler.headers.get("authorization", "")}}
        if status == 200:
            answer = self.spoil(self._answer(body), nth)
        with self._lock:
            self._in_flight -= 1
        self._send(handler, status, answer)

    def _answer(self, body):
        texts = body["input"] if "input" in body else [told(body["messages"])]
        vectors = [letters(text) for text in texts]
        if body.get("encoding_format") == "base64" and self.base64 == "taken":
            vectors = [base64.b64encode(struct.pack(f"<{len(v)}f", *v)).decode() for v in vectors]
        data = [{"index": at, "object": "embedding", "embedding": v} for at, v in enumerate(vectors)]
        return {"object": "list", "model": body["model"], "data": data}

    def _send(self, handler, status, answer) -> None:
        data = json.dumps(answer).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.delenv("MMRAG_API_KEY", raising=False)
    monkeypatch.setattr(mmrag.serving.connection, "FIRST_WAIT", 0.01)
    server = LetterServer()
    yield server
    server.close()


@pytest.fixture(params=["sync", "async"])
def encode(request):
    """Call `encode_document` or `encode_query`, or its async twin in a fresh event loop."""

    def run(embedder, inputs, side="document", **how):
        if request.param == "sync":
            return getattr(embedder, f"encode_{side}")(inputs, **how)
        return asyncio.run(getattr(embedder, f"aencode_{side}")(inputs, **how))

    return run


def unit(text: str) -> np.ndarray:
    vector = np.array(letters(text), dtype=np.float32)
    return vector / np.linalg.norm(vector)


def picture(color="white", size=(40, 30), words="") -> Image.Image:
    image = Image.new("RGB", size, color)
    ImageDraw.Draw(image).text((2, 2), words, fill="black")
    return image


def page(text="", image=None, *, name="Eiffel-tower_2019.jpg", total_pages=1) -> Page:
    source = Source("c" * 64, "image", name, f"/pictures/{name}")
    return Page(
        source.page_id(0),
        source.document_id,
        0,
        "1",
        text,
        (),
        (612, 792),
        source,
        total_pages=total_pages,
        image=image,
    )


# ------------------------------------------------------------------------------------ what is sent


def test_a_text_is_one_row_of_its_counted_letters(server, encode):
    """By eye: "aab" has two a and one b, so (2, 1) / sqrt(5)."""
    (matrix,) = encode(ServedEmbedder(server.url), ["aab"])
    assert matrix.shape == (1, 27) and matrix.dtype == np.float32
    assert matrix[0, 1:4].tolist() == pytest.approx([2 / 5**0.5, 1 / 5**0.5, 0])
    assert server.requests == [{"model": "letters", "input": ["aab"], "encoding_format": "base64"}]


def test_it_is_an_embedder_of_one_row_a_side(server):
    embedder = ServedEmbedder(server.url)
    assert isinstance(embedder, Embedder)
    assert (embedder.budget, embedder.modalities) == (Budget(1, 1), {"text"})
    assert ServedEmbedder(server.url, modalities=BOTH).modalities == {"text", "image"}


def test_texts_go_in_batches_and_come_back_in_order(server, encode):
    server.delay = 0.01
    texts = [f"{chr(97 + n % 26) * (n + 1)} z" for n in range(23)]
    matrices = encode(ServedEmbedder(server.url, batch_size=4), texts)
    assert sorted(len(body["input"]) for body in server.requests) == [3, 4, 4, 4, 4, 4]
    np.testing.assert_allclose(np.concatenate(matrices), [unit(text) for text in texts], rtol=1e-6)


def test_batch_size_at_the_call_comes_before_the_embedders(server, encode):
    encode(ServedEmbedder(server.url, batch_size=1), ["a", "b", "c"], batch_size=2)
    assert sorted(len(body["input"]) for body in server.requests) == [1, 2]


def test_with_images_every_item_is_a_chat_of_its_own(server, encode):
    """Texts, too: a text that skipped the chat template lies elsewhere than the pictures do."""
    embedder = ServedEmbedder(server.url, modalities=BOTH)
    encode(embedder, ["words", Content(image=picture()), Content(text="of a boat", image=picture())])
    kinds = sorted([part["type"] for part in b["messages"][0]["content"]] for b in server.requests)
    assert kinds == [["image_url"], ["image_url", "text"], ["text"]]
    assert all(body["messages"][0]["role"] == "user" and "input" not in body for body in server.requests)


def test_requests_run_side_by_side_up_to_the_limit(server, encode):
    server.delay, server.until = 0.03, lambda: server.most_in_flight >= 3
    encode(ServedEmbedder(server.url, modalities=BOTH, max_concurrency=3), [f"text {n}" for n in range(12)])
    assert server.most_in_flight == 3


def test_the_event_loop_is_free_while_the_server_works(server):
    loop_ran = threading.Event()
    server.until = loop_ran.is_set

    async def run() -> None:
        work = asyncio.create_task(ServedEmbedder(server.url).aencode_document(["a"]))
        while not server.requests:
            await asyncio.sleep(0.01)
        assert not work.done()
        loop_ran.set()
        await work

    asyncio.run(run())


def test_pictures_are_encoded_beside_the_event_loop(server, monkeypatch):
    threads = []

    def data_url(image, pixels, *, lossless):
        threads.append(threading.current_thread())
        return mmrag.images.data_url(image, pixels, lossless=lossless)

    monkeypatch.setattr(mmrag.embedders.served_wire, "data_url", data_url)
    embedder = ServedEmbedder(server.url, modalities=BOTH)
    asyncio.run(embedder.aencode_document([Content(image=picture())]))
    assert threads and threading.current_thread() not in threads


def test_no_input_is_no_request(server, encode):
    assert encode(ServedEmbedder(server.url), []) == []
    assert server.requests == []


def test_extra_is_in_every_request(server, encode):
    embedder = ServedEmbedder(server.url, extra={"dimensions": 27, "truncate_prompt_tokens": -1})
    encode(embedder, ["a"])
    assert server.requests[0]["dimensions"] == 27 and server.requests[0]["truncate_prompt_tokens"] == -1


def test_query_instruction_stands_before_the_text_and_a_querys_own_replaces_it(server, encode):
    embedder = ServedEmbedder(server.url, query_instruction="query: ", document_instruction="passage: ")
    encode(embedder, ["a", Query("b", instruction="find: "), Query("c", instruction="")], side="query")
    encode(embedder, ["d"])
    assert [body["input"] for body in server.requests] == [["query: a", "find: b", "c"], ["passage: d"]]


def test_with_images_the_instruction_is_the_systems(server, encode):
    embedder = ServedEmbedder(server.url, modalities=BOTH, query_instruction="Find the page.")
    encode(embedder, ["a"], side="query")
    encode(embedder, ["a"])
    asked, document = (body["messages"] for body in server.requests)
    assert [(m["role"], m["content"][0]["text"]) for m in asked] == [
        ("system", "Find the page."),
        ("user", "a"),
    ]
    assert [m["role"] for m in document] == ["user"]


def test_with_images_the_instruction_may_be_the_users(server):
    embedder = ServedEmbedder(
        server.url, modalities=BOTH, query_instruction="Query: ", instruction_role="user"
    )
    embedder.encode_query(["a", Query(image=picture())])
    chats = sorted(([p.get("text") for p in b["messages"][0]["content"]] for b in server.requests), key=len)
    assert chats == [["Query: a"], [None, "Query: "]]
    assert all(len(body["messages"]) == 1 for body in server.requests)


def test_empty_text_is_sent_as_a_full_stop(server, encode):
    """Servers answer 400 to the empty string, which would cost the whole batch."""
    encode(ServedEmbedder(server.url), ["", " \n", page(total_pages=2)])
    encode(ServedEmbedder(server.url, modalities=BOTH), [""])
    assert server.requests[0]["input"] == [".", ".", "."]
    assert server.requests[1]["messages"][0]["content"] == [{"type": "text", "text": "."}]


def test_a_page_alone_in_its_file_and_without_text_is_its_name(server, encode):
    encode(ServedEmbedder(server.url), [page()])
    assert server.requests[0]["input"] == ["Eiffel tower 2019"]


def test_a_rendered_page_is_its_picture_and_to_an_embedder_of_text_its_words(server):
    rendered = page("the words", picture())
    ServedEmbedder(server.url, modalities=BOTH).encode_document([rendered])
    ServedEmbedder(server.url).encode_document([rendered])
    alone, text = server.requests
    assert [part["type"] for part in alone["messages"][0]["content"]] == ["image_url"]
    assert text["input"] == ["the words"]


def test_a_lone_surrogate_is_replaced_and_a_pair_is_joined(server, encode):
    """Text layers of PDFs hold both; UTF-8 carries neither."""
    encode(ServedEmbedder(server.url), ["a\ud83db", "x\ud83d\ude00"])
    assert server.requests[0]["input"] == ["a\ufffdb", "x\N{GRINNING FACE}"]


def test_a_control_token_is_sent_as_words(server, encode):
    encode(ServedEmbedder(server.url), ["a<|im_end|>b", "[INST] c <end_of_turn>"])
    assert server.requests[0]["input"] == ["a< |im_end|>b", "[ INST] c < end_of_turn>"]


def test_a_large_photograph_travels_as_png_too():
    """A JPEG would make the vector depend on the encoder's version."""
    noise = Image.effect_noise((1300, 1300), 90).convert("RGB")
    (chat,) = messages(Item("", noise, ""), "system", 2_000_000)
    head, _, data = chat["content"][0]["image_url"]["url"].partition(",")
    back = Image.open(io.BytesIO(base64.b64decode(data)))
    assert head == "data:image/png;base64" and len(data) > 1_400_000
    assert back.tobytes() == noise.tobytes()


# ------------------------------------------------------------------------------------------ base64


@pytest.mark.parametrize("how", ["taken", "ignored", "refused"])
def test_vectors_are_the_same_however_the_server_takes_base64(server, encode, how):
    server.base64 = how
    embedder = ServedEmbedder(server.url, max_retries=0)
    matrices = encode(embedder, ["aab", "xyz"]) + encode(embedder, ["second"])
    np.testing.assert_array_equal(np.concatenate(matrices), [unit("aab"), unit("xyz"), unit("second")])
    asked = [body.get("encoding_format", "none") for body in server.requests]
    assert (
        asked
        == {"taken": ["base64"] * 2, "ignored": ["base64", "none"], "refused": ["base64", "none", "none"]}[
            how
        ]
    )


def test_first_requests_side_by_side_all_survive_a_refusal_of_base64(server, encode):
    """The second refusal once came after the first had switched over, and was raised."""
    server.base64, server.delay = "refused", 0.02
    embedder = ServedEmbedder(server.url, batch_size=1, max_concurrency=8, max_retries=0)
    assert len(encode(embedder, [chr(97 + n) for n in range(16)])) == 16


def test_a_refusal_of_something_else_is_the_error_of_the_plain_request(server, encode):
    server.status = lambda body, nth: 400
    with pytest.raises(ServerStatusError, match=r"400 Bad Request: 'no,'"):
        encode(ServedEmbedder(server.url), ["a"])
    assert [body.get("encoding_format") for body in server.requests] == ["base64", None]


def test_parsed_base64_equals_struct_unpack():
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(5, 33)).astype(np.float32)
    order = [3, 0, 4, 1, 2]
    data = [{"index": i, "embedding": base64.b64encode(rows[i].tobytes()).decode()} for i in order]
    vectors, encoded = parse_embeddings({"data": data}, 5)
    expected = [None] * 5
    for entry in data:
        expected[entry["index"]] = struct.unpack("<33f", base64.b64decode(entry["embedding"]))
    assert encoded and vectors.tolist() == [list(row) for row in expected]


# ------------------------------------------------------------------------- what is not believed


def edit(at, value):
    def spoil(answer, nth):
        answer["data"][at]["embedding"] = value
        return answer

    return spoil


def empty(answer, nth):
    return {**answer, "data": [{**entry, "embedding": []} for entry in answer["data"]]}


def reindex(*indices):
    def spoil(answer, nth):
        for entry, index in zip(answer["data"], indices, strict=True):
            entry["index"] = index
        return answer

    return spoil


BAD_ANSWERS = {
    "one too few": (lambda a, n: {**a, "data": a["data"][:-1]}, r"must give 3 vectors for 3 inputs, got 2"),
    "one too many": (lambda a, n: {**a, "data": a["data"] + a["data"][:1]}, r"for 3 inputs, got 4"),
    "none": (lambda a, n: {**a, "data": []}, r"got 0"),
    "no data": (lambda a, n: {"object": "list"}, r"must list vectors as data\[\]\.embedding"),
    "an index twice": (reindex(0, 1, 1), r"must number its vectors 0 to 2 by index, got \[0, 1, 1\]"),
    "index from 1": (reindex(1, 2, 3), r"got \[1, 2, 3\]"),
    "no index": (reindex(0, None, 2), r"got \[0, None, 2\]"),
    "index is a bool": (reindex(0, True, 2), r"got \[0, True, 2\]"),
    "NaN": (edit(1, [float("nan")] * 27), r"finite numbers, got NaN or infinity in the vector of input 1"),
    "infinity": (edit(2, [float("inf")] * 27), r"in the vector of input 2"),
    "over float32": (edit(0, [1e39] * 27), r"in the vector of input 0"),
    "over float64": (edit(0, [10**400] * 27), r"in the vector of input 0"),
    "another width": (edit(1, [1.0] * 26), r"vectors of one width, at least 1, got \[26, 27\]"),
    "no numbers": (edit(1, []), r"got \[0, 27\]"),
    "no numbers anywhere": (empty, r"vectors of one width, at least 1, got \[0\]"),
    "words": (edit(1, ["a"] * 27), r"a list of numbers or base64, got list for input 1"),
    "null": (edit(1, None), r"got NoneType for input 1"),
    "several vectors": (
        edit(1, [[1.0] * 27] * 5),
        r"one vector an input, got 5 for input 1\. A multi-vector",
    ),
    "no base64": (edit(1, "?????"), r"must give float32 in base64, got input 1 with"),
    "cut base64": (edit(1, base64.b64encode(b"12345").decode()), r"must give float32 in base64, got input 1"),
    "zeros": (edit(1, [0.0] * 27), r"gave a vector of zeros"),
}


@pytest.mark.parametrize("fault", BAD_ANSWERS)
def test_a_wrong_answer_is_an_error_and_gives_nothing(server, encode, fault):
    server.spoil, words = BAD_ANSWERS[fault]
    with pytest.raises(ServerAnswerError, match=words) as caught:
        encode(ServedEmbedder(server.url), ["a", "b", "c"])
    assert caught.value.raw_text and len(server.requests) == 1  # a wrong answer is not asked for twice


def test_entries_out_of_order_are_put_where_their_index_says(server, encode):
    server.spoil = lambda answer, nth: {**answer, "data": answer["data"][::-1]}
    matrices = encode(ServedEmbedder(server.url), ["a", "bb", "ccd"])
    np.testing.assert_array_equal(np.concatenate(matrices), [unit("a"), unit("bb"), unit("ccd")])


def test_another_width_than_before_is_refused(server, encode):
    embedder = ServedEmbedder(server.url)
    assert embedder.dim == 27
    server.spoil = edit(0, [1.0] * 28)
    with pytest.raises(ServerAnswerError, match=r"gave 27 numbers a vector by 'letters' before, got 28 by"):
        encode(embedder, ["a"])


def test_another_model_than_before_is_refused(server, encode):
    """A server was started again with another model of the same width: half an index of each."""
    embedder = ServedEmbedder(server.url)
    encode(embedder, ["a"])
    server.spoil = lambda answer, nth: {**answer, "model": "other"}
    with pytest.raises(ServerAnswerError, match=r"27 by 'other'. Another model serves there now; make a new"):
        encode(embedder, ["a"])


def test_500_is_tried_again_and_then_raised(server, encode):
    server.status = lambda body, nth: 500 if nth == 0 else 200
    assert len(encode(ServedEmbedder(server.url, "letters"), ["a"])) == 1
    server.status = lambda body, nth: 500
    server.requests.clear()
    with pytest.raises(ServerStatusError, match=r"500 Internal Server Error.*Look at the server's log"):
        encode(ServedEmbedder(server.url, "letters", max_retries=1), ["a"])
    assert len(server.requests) == 2


def test_a_refusal_names_the_inputs_that_were_in_it(server, encode):
    server.status = lambda body, nth: 400 if "long" in body["input"] else 200
    texts = ["a", "b", "c", "long", "e"]
    with pytest.raises(ServerStatusError, match=r"Inputs 2 to 3 were in it"):
        encode(ServedEmbedder(server.url, batch_size=2, max_concurrency=1), texts)
    with pytest.raises(ServerStatusError, match=r"Input 3 \(counted from 0\) was in it"):
        encode(ServedEmbedder(server.url, batch_size=1), texts, side="query")


def test_after_a_failure_what_has_not_begun_is_not_sent(server, encode):
    server.status = lambda body, nth: 404 if nth == 0 else 200
    with pytest.raises(ServerStatusError, match="404"):
        encode(ServedEmbedder(server.url, batch_size=1, max_concurrency=2), ["a"] * 300)
    assert len(server.requests) < 100


def test_no_server_is_said_as_that():
    with pytest.raises(ServerUnreachableError, match=r"No server at http://127\.0\.0\.1:9/v1/models"):
        ServedEmbedder("http://127.0.0.1:9", max_retries=0).dim  # noqa: B018


# ------------------------------------------------------------------------------- what it is called


def test_width_and_name_are_asked_once(server, encode):
    embedder = ServedEmbedder(server.url)
    assert (embedder.dim, embedder.name, embedder.dim) == (27, "letters", 27)
    assert len(embedder.fingerprint) == 32
    assert [body["input"] for body in server.requests] == [["."]]
    fresh = ServedEmbedder(server.url)
    encode(fresh, ["a"])
    assert fresh.dim == 27 and len(server.requests) == 2  # the first answer told, no probe


def test_the_name_is_the_one_the_server_tells(server):
    server.spoil = lambda answer, nth: {**answer, "model": "letters-2026"}
    assert ServedEmbedder(server.url, "alias").name == "letters-2026"
    server.spoil = lambda answer, nth: {key: answer[key] for key in ("data",)}
    assert ServedEmbedder(server.url, "alias").name == "alias"


def test_several_models_and_no_name_is_an_error_that_lists_them(server, encode):
    server.models = ["a", "b"]
    with pytest.raises(ServerAnswerError, match=r"must serve just one model.*got 2 \(a, b\)\. Pass model="):
        encode(ServedEmbedder(server.url), ["x"])
    assert len(encode(ServedEmbedder(server.url, "b"), ["x"])) == 1


def test_fingerprint_knows_neither_url_nor_key_nor_speed(server):
    base = ServedEmbedder(server.url).fingerprint
    port = server.url.rpartition(":")[2]
    same = ServedEmbedder(
        f"http://localhost:{port}/v1/",
        "letters",
        api_key=KEY,
        batch_size=3,
        max_concurrency=2,
        timeout=9,
        image_pixels=5000,  # of an embedder that sees no images
        instruction_role="user",
    )
    assert same.fingerprint == base


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"modalities": BOTH},
        {"query_instruction": "query: "},
        {"document_instruction": "passage: "},
        {"extra": {"dimensions": 27}},
    ],
    ids=str,
)
def test_fingerprint_knows_all_that_changes_a_vector(server, change):
    assert ServedEmbedder(server.url, **change).fingerprint != ServedEmbedder(server.url).fingerprint


@pytest.mark.parametrize("change", [{"image_pixels": 5000}, {"instruction_role": "user"}], ids=str)
def test_fingerprint_knows_how_pictures_are_sent(server, change):
    seeing = ServedEmbedder(server.url, modalities=BOTH)
    assert ServedEmbedder(server.url, modalities=BOTH, **change).fingerprint != seeing.fingerprint


def test_key_is_sent_and_shown_nowhere(server):
    embedder = ServedEmbedder(server.url, api_key=KEY)
    assert embedder.dim == 27 and server.headers[0]["Authorization"] == f"Bearer {KEY}"
    server.status = lambda body, nth: 401
    with pytest.raises(ServerStatusError) as caught:
        embedder.encode_document(["a"])
    assert KEY not in repr(embedder) + str(caught.value) + caught.value.body + repr(vars(embedder))
    assert KEY.encode() not in pickle.dumps(embedder)


@pytest.mark.parametrize("twin", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_a_copy_works_and_knows_what_was_asked(server, twin, encode):
    embedder = ServedEmbedder(server.url, query_instruction="query: ", modalities=BOTH)
    fingerprint = embedder.fingerprint
    copied = twin(embedder)
    asked = len(server.requests)
    assert (copied.fingerprint, copied.dim, len(server.requests)) == (fingerprint, 27, asked)
    np.testing.assert_array_equal(encode(copied, ["abc"])[0], embedder.encode_document(["abc"])[0])


def test_an_embedder_serves_many_event_loops_and_threads(server):
    embedder = ServedEmbedder(server.url)
    results = []

    def work(n: int) -> None:
        results.append((n, asyncio.run(embedder.aencode_document(["a" * (n + 1) + "b"]))[0][0]))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    for n, row in results:
        np.testing.assert_array_equal(row, unit("a" * (n + 1) + "b"))


# --------------------------------------------------------------------------------------- bad input


def test_a_picture_for_an_embedder_of_text_is_refused_before_anything_is_sent(server, encode):
    embedder = ServedEmbedder(server.url)
    with pytest.raises(
        UnsupportedInputError, match=r"reads text only, got an image in query 1\. Ask in words"
    ):
        encode(embedder, ["a", Query("b", image=picture())], side="query")
    with pytest.raises(UnsupportedInputError, match=r"got an image without text as document 0"):
        encode(embedder, [Content(image=picture())])
    assert server.requests == []
    encode(embedder, [Content(text="caption", image=picture())])
    assert server.requests[0]["input"] == ["caption"]


def test_several_pictures_in_one_input_are_refused_before_one_is_lost(server, encode):
    parts = ("a", picture(), "b", picture("black"))
    sees = ServedEmbedder(server.url, modalities=("text", "image"))
    for side, given in (("document", Content(parts=parts)), ("query", Query(parts=parts))):
        with pytest.raises(UnsupportedInputError, match=rf"one image an input, got 2 in {side} 0"):
            encode(sees, [given], side=side)
    assert server.requests == []
    encode(ServedEmbedder(server.url), [Content(parts=parts)])
    assert server.requests[0]["input"] == ["a\nb"]


def test_a_documents_own_instruction_replaces_the_embedders(server, encode):
    embedder = ServedEmbedder(server.url, document_instruction="all: ")
    encode(embedder, ["a", Content("b", instruction="own: "), Content("c", instruction="")])
    assert server.requests[0]["input"] == ["all: a", "own: b", "c"]


def test_wrong_types_are_said_with_their_position(server, encode):
    embedder = ServedEmbedder(server.url)
    with pytest.raises(TypeError, match=r"documents must be a list, got str\. Wrap a single one in a list"):
        encode(embedder, "text")
    with pytest.raises(TypeError, match=r"a document must be str, Page or Content, got int at 1"):
        encode(embedder, ["a", 3])
    with pytest.raises(TypeError, match=r"a query must be str or Query, got Content at 0"):
        encode(embedder, [Content("a")], side="query")
    with pytest.raises(ValueError, match=r"a query must have text or an image"):
        encode(embedder, [" "], side="query")
    with pytest.raises(ValueError, match=r"batch_size must be a whole number of at least 1, got 0"):
        encode(embedder, ["a"], batch_size=0)
    assert server.requests == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"modalities": ("image",)},
            r"modalities must be \('text',\) or \('text', 'image'\), got \['image'\]",
        ),
        ({"modalities": "audio"}, r"got \['audio'\]"),
        ({"batch_size": True}, r"batch_size must be a whole number of at least 1, got True"),
        ({"max_concurrency": 0}, r"max_concurrency must be"),
        ({"timeout": 0}, r"timeout must be more than 0 seconds"),
        ({"instruction_role": "me"}, r"instruction_role must be 'system' or 'user', got 'me'"),
        ({"image_pixels": 10}, r"image_pixels must be a whole number of at least 1024, got 10"),
        ({"extra": {"input": "x", "user": "me"}}, r"extra must not set model, input.*got input\."),
        ({"extra": {"a": object}}, r"extra must be JSON"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_setting_out_of_its_range_is_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        ServedEmbedder("http://127.0.0.1:9", **settings)


def test_base_url_must_be_one():
    with pytest.raises(ValueError, match=r"base_url must be an http or https URL, got 'localhost:8000'"):
        ServedEmbedder("localhost:8000")


# --------------------------------------------------------------------------------- in the pipeline


def test_an_index_made_through_one_url_opens_through_another(server, make_pdf, tmp_path):
    files = [
        make_pdf(tmp_path / "a.pdf", ["zebra zoo\nzigzag buzz", "apple banana"]),
        make_pdf(tmp_path / "b.pdf", ["moon mum mammoth"]),
    ]
    index = tmp_path / "index"
    with DocumentQA.open(index, embedder=load_embedder("letters", base_url=server.url)) as qa:
        assert qa.add(files).pages == 3
    port = server.url.rpartition(":")[2]
    again = ServedEmbedder(f"http://localhost:{port}/v1", "letters", api_key=KEY)
    with DocumentQA.open(index, embedder=again, read_only=True) as qa:
        found = asyncio.run(qa.asearch("zzzz", k=3))
        assert found[0].record.text.startswith("zebra") and found[0].scores["vectors"] > 0.4
        assert qa.search("mmm", k=1)[0].page.source.name == "b.pdf"
    with pytest.raises(IndexMismatchError, match=r"built with 27-dim vectors from 'letters'.*from 'other'"):
        DocumentQA.open(index, embedder=ServedEmbedder(server.url, "other"))


def test_a_server_that_fails_leaves_an_index_that_goes_on(server, make_pdf, tmp_path):
    file = make_pdf(tmp_path / "a.pdf", [f"page {n}" for n in range(20)])
    server.status = lambda body, nth: 400 if "page 17" in body.get("input", []) else 200
    embedder = ServedEmbedder(server.url, "letters", batch_size=4, max_retries=0)
    with DocumentQA.open(tmp_path / "index", embedder=embedder) as qa:
        with pytest.raises(ServerStatusError, match="Inputs 0 to 3 were in it"):
            qa.add([file])
        assert len(qa.status().incomplete) == 1
        server.status = lambda body, nth: 200
        assert qa.add([file]).pages == 4  # the batch of sixteen before is there already
        assert qa.status().incomplete == () and qa.status().records == 20


# ------------------------------------------------------------------------------ against a live server

URL = os.environ.get("MMRAG_TEST_EMBEDDING_SERVER", "")
IMAGES = os.environ.get("MMRAG_TEST_EMBEDDING_SERVER_IMAGES", "1") != "0"


def live(test):
    """Mark a test that needs the live server."""
    reason = "MMRAG_TEST_EMBEDDING_SERVER names no server; see docs/served-embedders.md"
    return pytest.mark.server(pytest.mark.skipif(not URL, reason=reason)(test))


def sees(test):
    """Mark a live test that needs a model that takes images."""
    reason = "MMRAG_TEST_EMBEDDING_SERVER_IMAGES=0: the live model reads only"
    return live(pytest.mark.skipif(not IMAGES, reason=reason)(test))


TEXTS = [
    "Net sales rose to 9.1 billion.",
    "A lighthouse stands on a rock.",
    "",
    "Grüße, 你好 \ud83d",
    "x" * 300,
]


@live
def test_live_texts_are_unit_rows_in_order(encode):
    embedder = ServedEmbedder(URL, batch_size=2)
    matrices = encode(embedder, TEXTS)
    assert [m.shape for m in matrices] == [(1, embedder.dim)] * len(TEXTS)
    np.testing.assert_allclose([np.linalg.norm(m) for m in matrices], 1, atol=1e-5)
    for text, matrix in zip(TEXTS, matrices, strict=True):
        # In a batch bfloat16 sums round otherwise than alone; another text is much further away.
        assert (encode(embedder, [text])[0] @ matrix.T).item() > 0.999


@live
def test_live_base64_and_numbers_are_the_same_vectors():
    coded, plain = ServedEmbedder(URL), ServedEmbedder(URL)
    plain._base64 = False
    np.testing.assert_allclose(coded.encode_document(TEXTS[:1]), plain.encode_document(TEXTS[:1]), atol=1e-3)


@live
def test_live_other_model_name_is_a_404_that_says_so():
    with pytest.raises(ServerStatusError, match=r"404 Not Found.*no-such-model.*Check the model name"):
        ServedEmbedder(URL, "no-such-model").dim  # noqa: B018


@live
def test_live_text_beyond_the_context_is_quoted_with_its_place():
    with pytest.raises(ServerStatusError, match=r"400 Bad Request.*Input 1 \(counted"):
        ServedEmbedder(URL, batch_size=1).encode_document(["short", "word " * 200_000])


@sees
def test_live_pictures_side_by_side_equal_pictures_alone(encode):
    embedder = ServedEmbedder(URL, modalities=BOTH, image_pixels=60_000)
    items = [Content(image=picture(color, (320, 200), f"page {color}")) for color in ("red", "blue", "white")]
    items += [Content(text="a red page", image=items[0].image), "a red page"] * 3
    matrices = encode(embedder, items)
    assert [m.shape for m in matrices] == [(1, embedder.dim)] * len(items)
    for item, matrix in zip(items, matrices, strict=True):
        assert (embedder.encode_document([item])[0] @ matrix.T).item() > 0.999
    assert abs(matrices[0] - matrices[3]).max() > 0  # the text counts beside the picture


@sees
def test_live_queries_are_text_image_or_both(encode):
    embedder = ServedEmbedder(URL, modalities=BOTH, query_instruction="Find the page.")
    image = picture("red", (320, 200))
    asked = ["red", Query(image=image), Query("red", image), Query("red", instruction="")]
    matrices = encode(embedder, asked, side="query")
    rows = np.concatenate(matrices)
    assert rows.shape == (4, embedder.dim) and len({row.tobytes() for row in rows}) == 4


@pytest.mark.parametrize(
    "modalities",
    [("text",), pytest.param(BOTH, marks=pytest.mark.skipif(not IMAGES, reason="the live model reads only"))],
)
@live
def test_live_pdfs_are_indexed_reopened_and_found(make_pdf, tmp_path, modalities):
    files = [make_pdf(tmp_path / f"{n}.pdf", [f"Report {n}: sales", "The lighthouse"]) for n in "ab"]
    with DocumentQA.open(tmp_path / "i", embedder=ServedEmbedder(URL, modalities=modalities)) as qa:
        assert qa.add(files).pages == 4
    twin = pickle.loads(pickle.dumps(ServedEmbedder(URL, modalities=modalities)))
    with DocumentQA.open(tmp_path / "i", embedder=twin, read_only=True) as qa:
        found = qa.search("lighthouse", k=4)
        assert len(found) == 4 and all(-1.001 <= c.scores["vectors"] <= 1.001 for c in found)
        assert asyncio.run(qa.aask("What does Report a say?")).text
