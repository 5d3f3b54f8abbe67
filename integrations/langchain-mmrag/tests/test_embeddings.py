from __future__ import annotations

import json
import pickle
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.load import dumps
from langchain_core.stores import InMemoryByteStore
from mmrag import Budget, Content, Embedder, MiniEmbedder, Query
from mmrag.errors import DocumentError, IndexMismatchError, UnsupportedInputError
from mmrag.hosts.embedders import HostEmbedder
from PIL import Image, ImageDraw, ImageFont

from langchain_mmrag import MMRagEmbeddings, MMRagVectorStore
from langchain_mmrag._embedder import as_embedder

LONG = "Rivers carry silt to the sea. " * 200


def test_a_vector_is_row_zero_of_the_matrix_at_length_one(embeddings: MMRagEmbeddings) -> None:
    matrix = embeddings.embedder.encode_document([LONG])[0]
    assert len(matrix) > 1 and np.linalg.norm(matrix[0]) < 0.9999  # else the scaling shows nothing
    vector = np.array(embeddings.embed_documents([LONG])[0])
    np.testing.assert_allclose(vector, matrix[0] / np.linalg.norm(matrix[0]), atol=1e-6)


def test_a_question_is_row_zero_of_its_matrix_at_length_one(embeddings: MMRagEmbeddings) -> None:
    """Rows of parts weigh less and are no vector of the question; the host must never see one of them."""
    asked = "Which rivers carry the most silt to the sea in spring?"
    matrix = embeddings.embedder.encode_query([asked])[0]
    assert len(matrix) > 1 and np.linalg.norm(matrix[1]) < 0.9
    vector = np.array(embeddings.embed_query(asked))
    np.testing.assert_allclose(vector, matrix[0], atol=1e-6)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_multi_gives_the_whole_matrix_and_budget_its_prefix(embeddings: MMRagEmbeddings) -> None:
    whole = embeddings.embed_documents_multi([LONG])[0]
    np.testing.assert_array_equal(whole, embeddings.embedder.encode_document([LONG])[0])
    three = MMRagEmbeddings(model=embeddings.embedder, budget=(1, 3))
    assert three.budget == Budget(1, 3)
    assert three.embed_documents_multi([LONG])[0] == whole[:3]
    assert np.shape(three.embed_query_multi("rivers")) == (1, 128)


def test_no_texts_give_no_vectors(embeddings: MMRagEmbeddings) -> None:
    assert embeddings.embed_documents([]) == embeddings.embed_documents_multi([]) == []


def test_images_by_path_uri_bytes_and_picture_are_the_same_vector(colours, swatches) -> None:
    model = MMRagEmbeddings(model=colours())
    red = swatches["red"]
    many = [str(red), red, red.as_uri(), red.read_bytes(), Image.open(red)]
    assert model.embed_images(many) == [[1.0, 0.0, 0.0]] * 5
    assert model.embed_image([str(swatches["blue"])]) == [[0.0, 0.0, 1.0]]
    assert model.embed_images_multi([red]) == [[[1.0, 0.0, 0.0]]]


def test_images_are_refused_by_a_model_that_sees_none(text_embeddings: MMRagEmbeddings, swatches) -> None:
    with pytest.raises(UnsupportedInputError, match="reads text only"):
        text_embeddings.embed_image([str(swatches["red"])])


def test_the_shipped_model_reads_what_stands_on_a_picture(embeddings: MMRagEmbeddings) -> None:
    picture = Image.new("RGB", (1224, 1584), "white")
    words = "The harbor master counts ships"
    ImageDraw.Draw(picture).text((100, 120), words, "black", ImageFont.load_default(24))
    seen = np.array(embeddings.embed_images([picture])[0])
    same, other = np.array(embeddings.embed_documents([words, "Gas plants were closed in the north"]))
    assert np.linalg.norm(seen) == pytest.approx(1, abs=1e-6)
    assert seen @ same > seen @ other + 0.1


def test_an_image_that_is_missing_broken_or_elsewhere_is_named(colours, tmp_path) -> None:
    model = MMRagEmbeddings(model=colours())
    with pytest.raises(FileNotFoundError, match=r"must be there to be read, got '/no/such\.png'"):
        model.embed_image(["/no/such.png"])
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(DocumentError, match="must be readable"):
        model.embed_image([str(broken)])
    with pytest.raises(ValueError, match="Download it"):
        model.embed_image(["https://example.org/a.png"])


def test_an_embedder_behind_a_server_is_asked_nothing_before_its_first_text(server) -> None:
    """It guards isinstance() with a protocol, which reads every attribute, ``dim`` included."""
    url, seen = server
    model = MMRagEmbeddings(model="tiny", base_url=url, api_key="sk-mine")
    assert as_embedder(model.embedder) is MMRagEmbeddings(model=model.embedder).embedder is model.embedder
    assert not seen
    assert model.embed_documents(["a", "b"]) == [[pytest.approx(0.6), pytest.approx(0.8)]] * 2
    assert {key for key, _ in seen} == {"Bearer sk-mine"}
    assert {body["model"] for _, body in seen} == {"tiny"}


@pytest.fixture
def server():
    """A real server on loopback that embeds every text as (3, 4); its URL, and what it was asked."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append((self.headers["Authorization"], body))
            data = [{"index": n, "embedding": [3.0, 4.0]} for n in range(len(body["input"]))]
            reply = json.dumps({"model": body["model"], "data": data}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}/v1", seen
        http.shutdown()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model": "no-such-model"}, "must be 'mmrag-mini', the folder"),
        ({"model": 7}, "name, a folder or an embedder, got int"),
        ({"compression": 3}, "compression of mmrag-mini must be 1 or 2"),
        ({"device": "cuda"}, "takes no device, got device='cuda'"),
        ({"budget": 3}, "budget must be Budget"),
        ({"budget": (0, 4)}, "at least 1, got 0"),
        ({"batch_size": 0}, "greater than or equal to 1"),
        ({"dimensions": 8}, "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_setting_is_refused_at_construction(settings, words) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        MMRagEmbeddings(**settings)


def test_a_pickle_holds_no_key_and_reads_the_environment_again(monkeypatch) -> None:
    model = MMRagEmbeddings(api_key="sk-hidden")
    before = model.embed_query("rivers")
    data = pickle.dumps(model)
    assert b"sk-hidden" not in data and len(data) < 2000
    assert pickle.loads(data).api_key is None
    monkeypatch.setenv("MMRAG_API_KEY", "sk-there")
    there = pickle.loads(data)
    assert there.api_key.get_secret_value() == "sk-there"
    assert there.embed_query("rivers") == before


def test_nothing_that_is_written_out_holds_the_key() -> None:
    model = MMRagEmbeddings(api_key="sk-hidden")
    written = [repr(model), str(model), str(model.model_dump()), model.model_dump_json(), dumps(model)]
    assert not [text for text in written if "sk-hidden" in text]
    assert "api_key" not in model.model_dump() and "api_key" not in repr(model)


# ---- the other way round: embeddings of the host in a store of ours


def test_host_embeddings_are_an_embedder_of_one_unit_row() -> None:
    host = HostEmbedder(DeterministicFakeEmbedding(size=6))
    assert isinstance(host, Embedder) and host.dim == 6
    for matrix in [*host.encode_document(["a", "b"]), host.encode_query([Query("a")])[0]]:
        assert matrix.shape == (1, 6)
        assert np.linalg.norm(matrix) == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(host.encode_query(["a"])[0], host.encode_document(["a"])[0])
    assert host.encode_document([]) == []


def test_host_fingerprint_tells_models_apart_and_repeats() -> None:
    first, again, other = (HostEmbedder(DeterministicFakeEmbedding(size=size)) for size in (6, 6, 7))
    assert first.fingerprint == again.fingerprint != other.fingerprint


class Letters(Embeddings):
    """Counts of letters in an order that the model says."""

    def __init__(self, model: str) -> None:
        self.model = model

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        order = "abcd" if self.model == "one" else "dcba"
        return [[float(text.count(letter)) + 0.01 for letter in order] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


class Wrapped(Letters):
    """Other embeddings behind a name of no model."""

    def __init__(self, inner: Embeddings) -> None:
        self._inner = inner

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._inner.embed_documents(texts)


def test_wrapped_embeddings_are_told_apart_by_what_they_wrap() -> None:
    one, same, two = (HostEmbedder(Wrapped(Letters(model))) for model in ("one", "one", "two"))
    assert one.fingerprint == same.fingerprint != two.fingerprint
    assert one.fingerprint != HostEmbedder(Letters("one")).fingerprint  # a wrapper may do more than pass on
    assert one.name == "Wrapped(Letters(one))"
    circle = Wrapped(Letters("one"))
    circle._inner = Letters("one")
    circle._other = circle
    assert len(HostEmbedder(circle).fingerprint) == 32


def test_a_cache_is_as_if_it_were_not_there(tmp_path) -> None:
    classic = pytest.importorskip("langchain_classic.embeddings", reason="the extra 'test' has it")

    def cached(model: str) -> Embeddings:
        options = {"namespace": model, "key_encoder": "sha256"}
        return classic.CacheBackedEmbeddings.from_bytes_store(Letters(model), InMemoryByteStore(), **options)

    with MMRagVectorStore(cached("one"), persist_directory=tmp_path) as store:
        store.add_texts(["aaaa", "dddd"])
    with pytest.raises(IndexMismatchError, match=r"Letters\(one\).*Letters\(two\)"):
        MMRagVectorStore(cached("two"), persist_directory=tmp_path)
    with MMRagVectorStore(Letters("one"), persist_directory=tmp_path) as store:
        assert store.similarity_search("a", k=1)[0].page_content == "aaaa"


def test_host_embeddings_refuse_images(swatches) -> None:
    host = HostEmbedder(DeterministicFakeEmbedding(size=6))
    picture = Image.open(swatches["red"])
    with pytest.raises(UnsupportedInputError, match="got an image in query 0"):
        host.encode_query([Query("red", image=picture)])
    with pytest.raises(UnsupportedInputError, match="image without text"):
        host.encode_document([Content(image=picture)])


async def test_host_async_twins_use_the_hosts_own() -> None:
    class OnlyAsync(Embeddings):
        def embed_documents(self, texts):
            raise AssertionError

        def embed_query(self, text):
            raise AssertionError

        async def aembed_documents(self, texts):
            return [[3.0, 4.0]] * len(texts)

        async def aembed_query(self, text):
            return [0.0, 2.0]

    host = HostEmbedder(OnlyAsync())
    np.testing.assert_allclose((await host.aencode_document(["a"]))[0], [[0.6, 0.8]])
    np.testing.assert_allclose((await host.aencode_query(["a"]))[0], [[0.0, 1.0]])


def test_as_embedder_takes_both_sides_and_refuses_the_rest(embeddings: MMRagEmbeddings) -> None:
    assert as_embedder(embeddings) is embeddings.embedder
    assert as_embedder(embeddings.embedder) is embeddings.embedder
    assert isinstance(as_embedder(None), MiniEmbedder)
    with pytest.raises(TypeError, match=r"got str\. Pass MMRagEmbeddings"):
        as_embedder("mmrag-mini")
