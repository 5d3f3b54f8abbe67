"""WeMM-Embedding: its recipe, written down a second time with the stock class and a prompt made by hand."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, normalizers
from transformers import Qwen3_5Model
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from mmrag import DocumentQA, MLLMEmbedder
from mmrag.embedders.base import Content, Embedder
from mmrag.errors import BadInputError
from mmrag.models.inputs import Item
from mmrag.models.registry import family_of
from mmrag.models.wemm_embedding import WeMMEmbedder
from mmrag.types import Budget, Query

from .tiny_foreign import copy_of, make_wemm_embedding

TOLERANCE = 5e-6
"""Absolute, on vectors of length one: float32 rounding of the same sums in another order."""


def picture(height, width, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


IMAGE = picture(70, 50)
WIDE = picture(40, 130, seed=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_wemm_embedding(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def embedder(folder):
    return load(folder)


def load(folder, **options):
    return MLLMEmbedder.from_pretrained(folder, device="cpu", dtype="float32", **options)


class Reference:
    """The published description: prompt by hand, whole forward pass, state of the last attended token.

    Takes prompts with ``[image]`` for an image. Its tokenizer normalises nothing: what the checkpoint's
    normalizer takes away is left out of the prompts of this file.
    """

    def __init__(self, folder):
        self.model = Qwen3_5Model.from_pretrained(folder).eval()
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.normalizer = normalizers.Sequence([])
        self.images = Qwen2VLImageProcessorPil.from_pretrained(folder)

    @torch.no_grad()
    def encode(self, prompts, pictures=(), padding="right"):
        pictures, pixels, grids, rows = list(pictures), [], [], []
        for prompt in prompts:
            while "[image]" in prompt:
                out = self.images(images=[pictures.pop(0)], return_tensors="pt")
                pixels.append(out["pixel_values"])
                grids.append(out["image_grid_thw"])
                pads = "<|image_pad|>" * (int(grids[-1].prod()) // 4)
                prompt = prompt.replace("[image]", f"<|vision_start|>{pads}<|vision_end|>", 1)
            rows.append(self.tokenizer.encode(prompt).ids)
        length = max(map(len, rows))
        ids, mask = torch.zeros(2, len(rows), length, dtype=torch.long)
        for at, row in enumerate(rows):
            place = slice(0, len(row)) if padding == "right" else slice(length - len(row), length)
            ids[at, place], mask[at, place] = torch.tensor(row), 1
        more = {}
        if pixels:
            kinds = (ids == self.model.config.image_token_id).int()
            more = {"pixel_values": torch.cat(pixels), "image_grid_thw": torch.cat(grids)}
            more["mm_token_type_ids"] = kinds
        states = self.model(input_ids=ids, attention_mask=mask, **more).last_hidden_state
        last = [len(row) - 1 if padding == "right" else length - 1 for row in rows]
        vectors = states[torch.arange(len(rows)), last]
        return torch.nn.functional.normalize(vectors, dim=-1).numpy()


@pytest.fixture(scope="module")
def reference(folder):
    return Reference(folder)


def said(text):
    return f"<|im_start|>user\n{text}<|im_end|><embedding>"


def shown(text=""):
    """An image first: no line end stands between the role and it."""
    return f"<|im_start|>user[image]{text}<|im_end|><embedding>"


def test_vectors_are_those_of_the_stock_model_at_the_embedding_token(embedder, reference):
    documents = ["hello", Content(image=IMAGE), Content(image=WIDE, text="with words"), "longer " * 9]
    prompts = [said("hello"), shown(), shown("with words"), said("longer " * 9)]
    ours = np.concatenate(embedder.encode_document(documents))

    for padding in ("right", "left"):
        expected = reference.encode(prompts, [IMAGE, WIDE], padding)
        np.testing.assert_allclose(ours, expected, atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(embedder.encode_query(documents[:1]), [ours[:1]], atol=TOLERANCE)


def test_the_state_is_that_of_the_embedding_token_and_of_no_other(embedder):
    row = embedder._encoder.prepare(Item(("hello", IMAGE)), "document").row
    tokenizer = embedder.model.backbone.tokenizer

    assert tokenizer.convert_ids_to_tokens(row.ids[-2:]) == ["<|im_end|>", "<embedding>"]
    assert row.ids.count(row.ids[-1]) == 1


def test_line_ends_are_taken_away_as_the_checkpoints_own_tokenizer_does(embedder, folder, reference):
    """transformers, since 5.18, makes this tokenizer without the checkpoint's normalizer: that is undone."""
    own = Tokenizer.from_file(str(folder / "tokenizer.json"))
    text = "<|im_start|>user\n<|vision_start|>a line\n<|im_end|><embedding>"
    assert own.encode(text).ids == embedder.model.backbone.tokenizer(text).input_ids

    ours = embedder.encode_document(["a line\n", Content(parts=("before", IMAGE, "behind\n"))])
    prompts = [said("a line"), "<|im_start|>user\nbefore[image]behind<|im_end|><embedding>"]
    expected = reference.encode(prompts, [IMAGE])
    np.testing.assert_allclose(np.concatenate(ours), expected, atol=TOLERANCE, rtol=0)


def test_an_instruction_stands_before_the_words_and_behind_the_image(folder, embedder, reference):
    queries = [
        Query(text="x", instruction=" Find it. "),
        Query(text="x", image=IMAGE, instruction="Find it."),
        Query(image=IMAGE, instruction="Represent this image."),
        Query(text="x", instruction=""),
    ]
    prompts = [said("Find it. x"), shown("Find it. x"), shown("Represent this image."), said("x")]
    expected = reference.encode(prompts, [IMAGE, IMAGE])

    ours = np.concatenate(embedder.encode_query(queries))
    np.testing.assert_allclose(ours, expected, atol=TOLERANCE, rtol=0)
    for_all = load(folder, instruction="Find it.")
    np.testing.assert_allclose(for_all.encode_document(["x"])[0], expected[:1], atol=TOLERANCE)
    np.testing.assert_allclose(for_all.encode_query(queries[3:])[0], expected[3:], atol=TOLERANCE)


def test_an_empty_document_and_a_thought(embedder, reference):
    [nothing] = embedder.encode_document([""])
    [thought] = embedder.encode_query([Query(text="x", thought="it is y")])

    prompts = ["<|im_start|>user<|im_end|><embedding>", said("x\nit is y")]
    np.testing.assert_allclose([nothing[0], thought[0]], reference.encode(prompts), atol=TOLERANCE)


def test_company_in_a_batch_does_not_matter(embedder):
    documents = ["a", Content(image=IMAGE), "b " * 40, Content(image=WIDE, text="c"), "d"]
    alone = [embedder.encode_document([document])[0] for document in documents]

    for size in (1, 2, 8):
        together = embedder.encode_document(documents, batch_size=size)
        np.testing.assert_allclose(together, alone, atol=TOLERANCE)
    backwards = embedder.encode_document(documents[::-1])[::-1]
    np.testing.assert_allclose(backwards, alone, atol=TOLERANCE)


def test_a_shorter_vector_is_a_prefix_that_the_checkpoint_was_trained_for(folder, embedder):
    [whole], [short] = (e.encode_document([Content(image=IMAGE)]) for e in (embedder, load(folder, dim=16)))

    np.testing.assert_allclose(short[0], whole[0, :16] / np.linalg.norm(whole[0, :16]), atol=TOLERANCE)
    with pytest.raises(ValueError, match=r"dim must be one of 16, 32, 64, .* got 17"):
        load(folder, dim=17)


def test_a_text_cannot_spell_the_embedding_token_or_an_image(embedder):
    plain, spelled = (
        embedder._encoder.prepare(Item((text,)), "document").row.ids
        for text in ("x", "<embedding> <|image_pad|> <|im_end|>")
    )
    special = {
        at for at, token in embedder.model.backbone.tokenizer.added_tokens_decoder.items() if token.special
    }

    assert [at for at in plain if at in special] == [at for at in spelled if at in special]


def test_a_long_text_is_cut_before_the_end_of_the_turn(folder, reference):
    embedder = load(folder, max_tokens=60)
    row = embedder._encoder.prepare(Item(("word " * 300,)), "document").row
    kept = 60 - len(reference.tokenizer.encode(said("")).ids)

    assert len(row.ids) == 60
    found = embedder.encode_document(["word " * 300])
    assert found.cut == [0]
    np.testing.assert_allclose(found[0], reference.encode([said(("word " * 300)[:kept])]), atol=TOLERANCE)
    with pytest.raises(BadInputError, match=r"leave room for text within max_tokens=60, got 90"):
        embedder.encode_document([Content(image=picture(160, 144))])


def test_compression_leaves_a_fourth_of_the_visual_tokens(folder, embedder):
    compressed = load(folder, compression=2)
    image = embedder.model.backbone.image_token_id
    item = Item((picture(96, 128),))

    assert [e._encoder.prepare(item, "document").row.ids.count(image) for e in (embedder, compressed)] == [
        48,
        12,
    ]
    assert embedder.fingerprint != compressed.fingerprint


def test_an_index_of_pages_is_searched(folder, tmp_path):
    embedder = load(folder, dim=32)
    assert isinstance(embedder, WeMMEmbedder) and isinstance(embedder, Embedder)
    assert (embedder.nested, embedder.dim, embedder.budget) == (True, 32, Budget(1, 1))
    with DocumentQA.open(tmp_path / "index", embedder=embedder) as qa:
        qa.add_texts(["Pump B ran longest: 41 hours.", "The valve was closed on Monday."])
        found = qa.search("The valve was closed on Monday.", k=2, channels=["vectors"], rerank=False)
    assert found[0].score == pytest.approx(1, abs=0.01) and found[1].score < found[0].score


def test_the_checkpoint_is_told_by_its_files_or_its_name(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    plain = {"model_type": "qwen3_5", "architectures": ["Qwen3_5ForConditionalGeneration"]}

    assert family_of(folder, config) == "wemm_embedding"
    assert family_of(tmp_path, plain) is None
    assert family_of(tmp_path, {**plain, "matryoshka_dimensions": [64]}) == "wemm_embedding"
    assert family_of(tmp_path, plain, "tencent/WeMM-Embedding-2B") == "wemm_embedding"
    with pytest.raises(ValueError, match=r"ColQwen3\.5 checkpoint must hold the files for sentence-transf"):
        family_of(tmp_path, {"model_type": "qwen3_5", "architectures": ["ColQwen3_5"]})


def test_meta_tokens_can_be_put_on_it_as_on_a_backbone(folder):
    embedder = load(folder, family="mmrag", budget=Budget(4, 8), allow_untrained=True)

    assert embedder.encode_document([Content(image=IMAGE)])[0].shape == (8, 64)


def test_a_tokenizer_without_the_token_or_without_its_file_is_refused(folder, tmp_path):
    other = copy_of(folder, tmp_path / "other")
    text = (other / "tokenizer.json").read_text().replace("<embedding>", "<embodying>")
    (other / "tokenizer.json").write_text(text)
    with pytest.raises(ValueError, match=r"must end an input in <embedding>, got .*'>'"):
        load(other)
    (other / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"must hold tokenizer\.json, part of its prompt"):
        load(other)
    with pytest.raises(ValueError, match=r"prompts does not apply to WeMM-Embedding checkpoints"):
        load(folder, prompts="x")


def test_what_changes_vectors_changes_the_fingerprint(folder, embedder, tmp_path):
    options = [{"dim": 16}, {"instruction": "Else"}, {"max_visual_tokens": 9}, {"max_tokens": 100}]
    others = [load(folder, **option).fingerprint for option in options]
    other = copy_of(folder, tmp_path / "other")
    text = json.loads((other / "tokenizer.json").read_text())
    (other / "tokenizer.json").write_text(json.dumps({**text, "normalizer": None}))
    others.append(load(other).fingerprint)

    assert load(folder).fingerprint == embedder.fingerprint
    assert len({embedder.fingerprint, *others}) == 6
