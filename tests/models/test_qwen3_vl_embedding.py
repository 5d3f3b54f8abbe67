"""Qwen3-VL-Embedding: its recipe, written down a second time with the stock model and chat template."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer, Qwen3VLModel
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from mmrag.embedders.base import Content, Embedder
from mmrag.errors import BadInputError
from mmrag.models.qwen3_vl_embedding import Qwen3VLEmbedding, chat, with_full_stop
from mmrag.types import Budget, Query

from .tiny_foreign import CHAT_TEMPLATE, make_qwen3_vl_embedding

TOLERANCE = 2e-6
"""Absolute, on vectors of length one: float32 rounding of the same operations in another batch."""

DEFAULT = "Represent the user's input."


def picture(height, width, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


IMAGE = picture(70, 50)
WIDE = picture(40, 130, seed=1)


@pytest.fixture(scope="module", params=[True, False], ids=["tokenizer-adds-end", "tokenizer-adds-nothing"])
def folder(request, tmp_path_factory):
    return make_qwen3_vl_embedding(tmp_path_factory.mktemp("tiny") / "model", appends_end=request.param)


@pytest.fixture(scope="module")
def embedder(folder):
    return load(folder)


def load(folder, **options):
    return Qwen3VLEmbedding.from_folder(folder, device="cpu", dtype="float32", **options)


class Reference:
    """The published description: chat template, whole forward pass, state of the last attended token."""

    def __init__(self, folder):
        self.model = Qwen3VLModel.from_pretrained(folder).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.images = Qwen2VLImageProcessorPil.from_pretrained(folder)

    @torch.no_grad()
    def encode(self, inputs, padding_side="right"):
        texts, pictures = [], []
        for instruction, parts in inputs:
            content = []
            for part in parts:
                content.append({"type": "text", "text": part} if isinstance(part, str) else {"type": "image"})
            turns = [
                {"role": "system", "content": [{"type": "text", "text": instruction}]},
                {"role": "user", "content": content},
            ]
            text = self.tokenizer.apply_chat_template(
                turns, chat_template=CHAT_TEMPLATE, add_generation_prompt=True, tokenize=False
            )
            for image in (part for part in parts if not isinstance(part, str)):
                pictures.append(self.images(images=[image], return_tensors="pt"))
                count = int(pictures[-1]["image_grid_thw"].prod()) // 4
                text = text.replace("<|image_pad|>", "<placeholder>" * count, 1)
            texts.append(text.replace("<placeholder>", "<|image_pad|>"))
        self.tokenizer.padding_side = padding_side
        batch = self.tokenizer(texts, padding=True, return_tensors="pt")
        more = {}
        if pictures:
            more = {
                name: torch.cat([p[name] for p in pictures]) for name in ("pixel_values", "image_grid_thw")
            }
            more["mm_token_type_ids"] = (batch["input_ids"] == self.model.config.image_token_id).int()
        states = self.model(**batch, **more).last_hidden_state
        last = batch["attention_mask"].shape[1] - 1 - batch["attention_mask"].flip(1).argmax(1)
        vectors = states[torch.arange(len(states)), last]
        return torch.nn.functional.normalize(vectors, dim=-1).numpy()


@pytest.fixture(scope="module")
def reference(folder):
    return Reference(folder)


def test_vectors_are_those_of_the_stock_model_by_the_published_recipe(embedder, reference):
    documents = ["hello", Content(image=IMAGE), Content(image=WIDE, text="with words"), "longer " * 9]
    inputs = [(DEFAULT, parts) for parts in (["hello"], [IMAGE], [WIDE, "with words"], ["longer " * 9])]
    ours = np.concatenate(embedder.encode_document(documents))

    np.testing.assert_allclose(ours, reference.encode(inputs), atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(ours, reference.encode(inputs, "left"), atol=TOLERANCE, rtol=0)
    alone = np.concatenate([reference.encode([given]) for given in inputs])
    np.testing.assert_allclose(ours, alone, atol=TOLERANCE, rtol=0)


def test_several_parts_keep_their_order(embedder, reference):
    parts = ("first", IMAGE, "then", WIDE)
    [ours] = embedder.encode_document([Content(parts=parts)])

    np.testing.assert_allclose(ours, reference.encode([(DEFAULT, parts)]), atol=TOLERANCE, rtol=0)


def test_an_instruction_is_the_system_turn_and_ends_in_punctuation(embedder, reference):
    given = {
        "Find pages": "Find pages.",
        " Is it so? ": "Is it so?",
        "见": "见.",
        "好。": "好。",
        "": DEFAULT,
    }
    for instruction, said in given.items():
        [ours] = embedder.encode_query([Query(text="x", instruction=instruction)])
        np.testing.assert_allclose(ours, reference.encode([(said, ["x"])]), atol=TOLERANCE, rtol=0)


def test_an_embedder_wide_instruction_is_used_where_an_input_brings_none(folder, reference):
    embedder = load(folder, instruction="Find pages")

    np.testing.assert_allclose(
        embedder.encode_query(["x"])[0], reference.encode([("Find pages.", ["x"])]), atol=TOLERANCE
    )
    own = embedder.encode_query([Query(text="x", instruction="Else")])[0]
    np.testing.assert_allclose(own, reference.encode([("Else.", ["x"])]), atol=TOLERANCE)


def test_an_empty_document_is_the_word_null(embedder, reference):
    for nothing in ("", "  ", Content()):
        [ours] = embedder.encode_document([nothing])
        np.testing.assert_allclose(ours, reference.encode([(DEFAULT, ["NULL"])]), atol=TOLERANCE)


def test_company_in_a_batch_does_not_matter(embedder):
    documents = ["a", Content(image=IMAGE), "b " * 40, Content(image=WIDE, text="c"), "d"]
    alone = [embedder.encode_document([document])[0] for document in documents]

    for size in (1, 2, 8):
        together = embedder.encode_document(documents, batch_size=size)
        np.testing.assert_allclose(together, alone, atol=TOLERANCE)
    backwards = embedder.encode_document(documents[::-1])[::-1]
    np.testing.assert_allclose(backwards, alone, atol=TOLERANCE)


def test_a_shorter_vector_is_the_prefix_scaled_to_length_one(folder, embedder):
    [whole], [short] = (e.encode_document([Content(image=IMAGE)]) for e in (embedder, load(folder, dim=16)))

    np.testing.assert_allclose(short[0], whole[0, :16] / np.linalg.norm(whole[0, :16]), atol=TOLERANCE)
    with pytest.raises(ValueError, match="dim must be 1 to 64"):
        load(folder, dim=65)


def test_a_text_cannot_spell_a_special_token(embedder):
    plain = embedder._encoder.prepare(_item("x"), "document").row.ids
    text = "<|im_end|> <|image_pad|> <|vision_start|>"
    [matrix] = embedder.encode_document([text])
    row = embedder._encoder.prepare(_item(text), "document").row
    image = embedder.model.backbone.image_token_id

    spelled = [i for i in row.ids if i in _special(embedder)]
    assert spelled == [i for i in plain if i in _special(embedder)] and image not in row.ids
    assert np.isfinite(matrix).all()


def _item(text):
    from mmrag.models.inputs import Item

    return Item((text,))


def _special(embedder):
    decoder = embedder.model.backbone.tokenizer.added_tokens_decoder
    return {number for number, token in decoder.items() if token.special}


def test_a_long_text_is_cut_before_the_end_of_the_turn(folder, reference):
    embedder = load(folder, max_tokens=120)
    row = embedder._encoder.prepare(_item("word " * 300), "document").row
    tail = reference.tokenizer("<|im_end|>\n<|im_start|>assistant\n")["input_ids"]

    assert len(row.ids) == 120 and list(row.ids[-len(tail) :]) == tail
    kept = 120 - len(embedder._encoder.template._ids(DEFAULT, ""))
    [ours] = embedder.encode_document(["word " * 300])
    expected = reference.encode([(DEFAULT, [("word " * 300)[:kept]])])  # a token is a byte here
    np.testing.assert_allclose(ours, expected, atol=TOLERANCE)


def test_images_that_leave_no_room_are_refused(folder):
    embedder = load(folder, max_tokens=120)

    with pytest.raises(
        BadInputError, match=r"document 1: .* leave room for text within max_tokens=120, got 90"
    ):
        embedder.encode_document(["fine", Content(image=picture(160, 144))])


def test_visual_tokens_stay_within_the_budget(folder):
    embedder = load(folder, max_visual_tokens=9)
    image = embedder.model.backbone.image_token_id

    for size in ((70, 50), (400, 300), (16, 700), (8, 8)):
        row = embedder._encoder.prepare(_item_of(picture(*size)), "document").row
        assert 1 <= row.ids.count(image) <= 9


def _item_of(image):
    from mmrag.models.inputs import Item

    return Item((image,))


def test_compression_is_off_unless_asked_for(folder, embedder):
    compressed = load(folder, compression=2)
    image = embedder.model.backbone.image_token_id
    item = _item_of(picture(96, 128))

    counts = [e._encoder.prepare(item, "document").row.ids.count(image) for e in (embedder, compressed)]
    assert counts == [48, 12]
    assert embedder.fingerprint != compressed.fingerprint


def test_a_thought_follows_the_content(embedder, reference):
    [ours] = embedder.encode_query([Query(text="x", thought="it is y")])

    np.testing.assert_allclose(ours, reference.encode([(DEFAULT, ["x", "\nit is y"])]), atol=TOLERANCE)


async def test_an_embedder_by_the_protocol(embedder):
    assert isinstance(embedder, Embedder)
    assert (embedder.nested, embedder.dim, embedder.budget) == (True, 64, Budget(1, 1))
    [ours] = await embedder.aencode_query(["x"])
    assert ours.shape == (1, 64) and ours.dtype == np.float32
    assert np.linalg.norm(ours) == pytest.approx(1, abs=1e-6)
    assert embedder.encode_document([]) == []


def test_what_changes_vectors_changes_the_fingerprint(folder, embedder, tmp_path):
    options = [{"dim": 16}, {"instruction": "Else"}, {"max_visual_tokens": 9}, {"max_tokens": 100}]
    others = [load(folder, **option).fingerprint for option in options]
    others.append(load(make_qwen3_vl_embedding(tmp_path / "other", seed=1)).fingerprint)

    assert load(folder).fingerprint == embedder.fingerprint
    assert len({embedder.fingerprint, *others}) == 6


def test_bad_input_is_named_by_its_place(embedder):
    with pytest.raises(BadInputError, match="query 1: a query must have text or an image"):
        embedder.encode_query(["x", " "])
    with pytest.raises(BadInputError, match="document 1: an image must be at most 200 times"):
        embedder.encode_document(["x", Content(image=Image.new("RGB", (900, 2)))])
    with pytest.raises(ValueError, match="batch_size must be a whole number"):
        embedder.encode_query(["x"], batch_size=0)


def test_the_recipe_by_hand():
    assert (
        with_full_stop("Find it") == "Find it."
        and with_full_stop("Find it!") == "Find it!"
        and with_full_stop(" ") == ""
    )
    assert chat("I.", "hello") == (
        "<|im_start|>system\nI.<|im_end|>\n<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    )
