"""`MMRagEmbedding` as LlamaIndex uses it."""

from __future__ import annotations

import io
import json
import pickle

import numpy as np
import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.embeddings import MultiModalEmbedding
from PIL import Image, ImageDraw, ImageFont

from llama_index.embeddings.mmrag import MMRagEmbedding
from mmrag import MiniEmbedder
from mmrag.embedders.mini.embedder import MODEL_DIR
from mmrag.errors import IndexMismatchError, ServerUnreachableError, UnsupportedInputError
from mmrag.types import Budget

LONG = "The tide came in. " * 400


def test_it_is_an_embedding_of_the_host():
    names = [base.__name__ for base in MMRagEmbedding.__mro__]
    assert MultiModalEmbedding.__name__ in names
    assert BaseEmbedding.__name__ in names
    assert MMRagEmbedding.class_name() == "MMRagEmbedding"


def test_a_text_is_row_0_at_length_1(embedder):
    given = MMRagEmbedding(embedder).get_text_embedding(LONG)
    row = embedder.encode_document([LONG])[0][0].astype(float)
    assert np.allclose(given, row / np.linalg.norm(row), atol=1e-6)
    assert np.linalg.norm(given) == pytest.approx(1.0)
    assert all(type(value) is float for value in given)


def test_a_question_is_row_0_of_its_rows_at_length_1(shipped):
    """Rows of parts weigh less and are no vector of the question; the host must never see one of them."""
    asked = "Which rivers carry the most silt to the sea in spring?"
    matrix = shipped.encode_query([asked])[0]
    assert len(matrix) > 1
    assert np.linalg.norm(matrix[1]) < 0.9
    given = MMRagEmbedding(shipped).get_query_embedding(asked)
    assert np.allclose(given, matrix[0], atol=1e-6)
    assert np.linalg.norm(given) == pytest.approx(1.0)


def test_the_shipped_model_reads_what_stands_on_a_picture(shipped, tmp_path):
    model, words = MMRagEmbedding(shipped), "The harbor master counts ships"
    picture = Image.new("RGB", (1224, 1584), "white")
    ImageDraw.Draw(picture).text((100, 120), words, "black", ImageFont.load_default(24))
    picture.save(tmp_path / "words.png")
    seen = np.array(model.get_image_embedding(str(tmp_path / "words.png")))
    same, other = np.array(model.get_text_embedding_batch([words, "Gas plants were closed in the north"]))
    assert seen @ same > seen @ other + 0.1


def test_a_question_is_not_encoded_as_a_text(embedder):
    model = MMRagEmbedding(embedder)
    assert not np.allclose(model.get_query_embedding("net sales"), model.get_text_embedding("net sales"))


def test_a_batch_equals_one_by_one(embedder):
    model = MMRagEmbedding(embedder, embed_batch_size=2)
    texts = ["one", "two", "three"]
    assert model.get_text_embedding_batch(texts) == [model.get_text_embedding(text) for text in texts]


async def test_async_equals_sync(colours, pictures):
    model = MMRagEmbedding(colours, embed_batch_size=2)
    images = [str(path) for path in pictures.values()]
    assert await model.aget_query_embedding("red") == model.get_query_embedding("red")
    assert await model.aget_text_embedding("red") == model.get_text_embedding("red")
    assert await model.aget_text_embedding_batch(["red", "blue"]) == model.get_text_embedding_batch(
        ["red", "blue"]
    )
    assert await model.aget_image_embedding(images[0]) == model.get_image_embedding(images[0])
    assert await model.aget_image_embedding_batch(images) == model.get_image_embedding_batch(images)


async def test_async_leaves_the_loop_free(gated, pictures, stays_free):
    model = MMRagEmbedding(gated)
    calls = [
        model.aget_query_embedding("red"),
        model.aget_text_embedding("red"),
        model.aget_image_embedding(str(pictures["red"])),
    ]
    for call in calls:
        await stays_free(call)


def test_an_image_in_every_form(colours, pictures):
    model = MMRagEmbedding(colours)
    path = pictures["green"]
    expected = pytest.approx([0.0, 1.0, 0.0])
    for form in (str(path), path, path.read_bytes(), io.BytesIO(path.read_bytes()), Image.open(path)):
        assert model.get_image_embedding(form) == expected
    assert model.get_image_embedding_batch([str(p) for p in pictures.values()]) == [
        pytest.approx(row) for row in np.eye(3).tolist()
    ]


def test_bad_images_are_refused(colours, tmp_path, embedder, pictures):
    model = MMRagEmbedding(colours)
    with pytest.raises(FileNotFoundError, match=r"an image must be there to be read, got .*gone.png"):
        model.get_image_embedding(str(tmp_path / "gone.png"))
    (tmp_path / "words.png").write_text("no image")
    with pytest.raises(ValueError, match="an image must be readable"):
        model.get_image_embedding(str(tmp_path / "words.png"))
    with pytest.raises(ValueError, match="must be on this machine"):
        model.get_image_embedding("https://example.org/a.png")
    with pytest.raises(UnsupportedInputError, match="reads text only"):
        MMRagEmbedding(embedder).get_image_embedding(str(pictures["red"]))


def test_events_come_in_pairs_for_texts_and_images(colours, pictures, events):
    model = MMRagEmbedding(colours, embed_batch_size=2)
    pair = ["EmbeddingStartEvent", "EmbeddingEndEvent"]
    model.get_query_embedding("red")
    model.get_text_embedding_batch(["red", "green", "blue"])
    model.get_image_embedding(str(pictures["red"]))
    model.get_image_embedding_batch([str(path) for path in pictures.values()])
    assert events == pair * (1 + 2 + 1 + 2)


async def test_events_come_in_pairs_for_images_async(colours, pictures, events):
    await MMRagEmbedding(colours).aget_image_embedding(str(pictures["red"]))
    assert events == ["EmbeddingStartEvent", "EmbeddingEndEvent"]


def test_an_image_event_names_the_file_and_never_its_bytes(colours, pictures):
    from llama_index.core.instrumentation import get_dispatcher
    from llama_index.core.instrumentation.event_handlers import BaseEventHandler

    chunks = []

    class Handler(BaseEventHandler):
        def handle(self, event, **kwargs):
            chunks.extend(getattr(event, "chunks", []))

    handler = Handler()
    get_dispatcher().add_event_handler(handler)
    try:
        MMRagEmbedding(colours).get_image_embedding_batch(
            [str(pictures["red"]), io.BytesIO(pictures["red"].read_bytes())]
        )
    finally:
        get_dispatcher().event_handlers.remove(handler)
    assert chunks == [str(pictures["red"]), "<BytesIO>"]


def test_the_rate_limiter_is_asked_for_images(colours, pictures):
    class Limiter:
        asked = 0

        def acquire(self):
            self.asked += 1

        async def async_acquire(self):
            self.asked += 1

    limiter = Limiter()
    model = MMRagEmbedding(colours, rate_limiter=limiter)
    model.get_image_embedding(str(pictures["red"]))
    assert limiter.asked == 1


def test_whole_matrices_under_their_own_names(embedder):
    whole = MMRagEmbedding(embedder).encode_document([LONG])[0]
    cut = MMRagEmbedding(embedder, budget=(1, 2)).encode_document([LONG])[0]
    assert len(whole) > 2
    assert cut.shape == (2, 128) and np.allclose(cut, whole[:2], atol=1e-6)
    assert MMRagEmbedding(embedder, budget=(1, 2)).encode_query(["tide"])[0].shape == (1, 128)


def test_dict_and_back():
    model = MMRagEmbedding(budget=(1, 8), embed_batch_size=3)
    data = json.loads(json.dumps(model.to_dict()))
    again = MMRagEmbedding.from_dict(data)
    assert again.to_dict() == model.to_dict()
    assert again.get_query_embedding("tide") == model.get_query_embedding("tide")


def test_pickle_and_back():
    model = MMRagEmbedding(str(MODEL_DIR), embed_batch_size=3)
    again = pickle.loads(pickle.dumps(model))
    assert again.to_dict() == model.to_dict()
    assert again.get_text_embedding("tide") == model.get_text_embedding("tide")


def test_another_model_is_not_taken_for_the_first(colours):
    data = MMRagEmbedding(colours).to_dict()
    with pytest.raises(IndexMismatchError, match="Give the embedder it was made with"):
        MMRagEmbedding.from_dict(data)
    assert MMRagEmbedding.from_dict(data, model=colours).model_name == "colours"


class Unpicklable(MiniEmbedder):
    """An embedder that cannot travel to another process."""

    def __reduce__(self):
        raise TypeError("not this one")


def test_a_ready_embedder_travels_where_it_can():
    model = MMRagEmbedding(MiniEmbedder(inputs="pixels"))
    assert pickle.loads(pickle.dumps(model)).embedder.inputs == "pixels"
    with pytest.raises(TypeError, match="ready object cannot be pickled"):
        pickle.dumps(MMRagEmbedding(Unpicklable(inputs="pixels")))


def test_the_shipped_model_is_written_by_name_and_made_again():
    """Its folder is another one on the machine that reads what was written."""
    model = MMRagEmbedding(MiniEmbedder())
    data = json.loads(json.dumps(model.to_dict()))
    assert data["model"] == "mmrag-mini"
    for again in (MMRagEmbedding.from_dict(data), pickle.loads(pickle.dumps(model))):
        assert type(again.embedder) is MiniEmbedder
        assert again.to_dict() == data


def test_the_rows_of_a_ready_embedder_travel_with_it():
    """They are no part of a fingerprint, because any question may be asked of an index."""
    model = MMRagEmbedding(MiniEmbedder(budget=Budget(2, 64)))
    assert pickle.loads(pickle.dumps(model)).embedder.budget == Budget(2, 64)


def test_model_may_be_typed_as_model_name():
    assert MMRagEmbedding(model_name="mmrag-mini").embedder.dim == MMRagEmbedding().embedder.dim == 128


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model": "no-such-model"}, "model must be 'mmrag-mini', the folder"),
        ({"model_name": "no-such-model"}, "For a model behind a server pass base_url"),
        ({"compression": 3}, "compression of mmrag-mini must be 1 or 2"),
        ({"device": "cuda"}, "mmrag-mini takes no device, got device='cuda'"),
        ({"budget": (0, 1)}, "budget.query must be a whole number of at least 1, got 0"),
    ],
)
def test_settings_that_do_nothing_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        MMRagEmbedding(**settings)


def test_an_empty_question_is_refused(embedder):
    with pytest.raises(ValueError, match="a query must have text or an image"):
        MMRagEmbedding(embedder).get_query_embedding("  ")


def test_an_unknown_argument_is_refused():
    with pytest.raises(TypeError, match="unexpected keyword"):
        MMRagEmbedding(modle="x")
    with pytest.raises(TypeError, match="model must be a name, a folder or an embedder, got int"):
        MMRagEmbedding(7)


def test_a_served_model_is_not_asked_before_it_is_used():
    """Nothing listens there; the key stays out of all that is written down."""
    model = MMRagEmbedding("some-model", base_url="http://127.0.0.1:9/v1", api_key="sk-secret")
    assert model.model_name == "some-model"
    assert "sk-secret" not in json.dumps(model.to_dict()) + repr(model)
    assert b"sk-secret" not in pickle.dumps(model)
    for again in (MMRagEmbedding.from_dict(model.to_dict()), pickle.loads(pickle.dumps(model))):
        assert again.to_dict() == model.to_dict()
    with pytest.raises(ServerUnreachableError):
        model.get_text_embedding("tide")


def test_a_ready_object_that_pickles_goes_along(colours):
    model = MMRagEmbedding(colours)
    again = pickle.loads(pickle.dumps(model))
    assert again.to_dict() == model.to_dict()
    assert again.get_text_embedding("red") == [1.0, 0.0, 0.0]
