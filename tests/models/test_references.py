"""Foreign checkpoints against the libraries they are usually loaded with.

These are colpali-engine and sentence-transformers. Both need torchvision, so they stand in a folder of
their own and this file is skipped in the ordinary run: ``make test-references`` installs them and runs it.
Both get a PIL image processor: torchvision rounds bicubic samples differently (see
``test_stock_processors.py``), and what is compared here is the rest.
"""

import importlib.util

import numpy as np
import pytest
import torch
from PIL import Image

from mmrag.embedders.base import Content
from mmrag.models.colmodernvbert import ColModernVBertEmbedder
from mmrag.models.colpali import ColPaliEmbedder
from mmrag.models.colqwen2 import ColQwen2Embedder
from mmrag.models.qwen3_vl_embedding import Qwen3VLEmbedding
from mmrag.models.token_pooling import pool_tokens
from mmrag.scoring import maxsim, maxsim_ragged
from mmrag.types import Query

from .tiny_foreign import MAKERS, make_qwen3_vl_embedding

if importlib.util.find_spec("colpali_engine") is None:
    pytest.skip("run by `make test-references`", allow_module_level=True)

import colpali_engine.models as engine
import sentence_transformers

TOLERANCE = 2e-6
"""Absolute, on vectors of length one: float32 rounding of the same operations in another batch."""

QUESTIONS = ["hello", "which pump ran longest in March?"]


def picture(height, width, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


PICTURES = [picture(70, 50), picture(50, 90, 1), picture(33, 200, 2)]
PAGES = [Content(image=image) for image in PICTURES]


def load(family, folder, **options):
    return family.from_folder(folder, device="cpu", dtype="float32", **options)


def renamed(model, ours, names):
    """Our weights in the engine's model."""
    state = {}
    for name, value in ours.state_dict().items():
        for old, new in names.items():
            if name.startswith(old):
                name = new + name[len(old) :]
                break
        state[name] = value
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and all("lm_head" in name for name in missing)
    return model.eval()


@torch.no_grad()
def vectors(model, inputs):
    inputs = {name: value for name, value in inputs.items() if name != "labels"}
    rows = zip(model(**inputs), inputs["attention_mask"].bool(), strict=True)
    return [row[mask].numpy() for row, mask in rows]


def assert_same(ours, theirs):
    for own, reference in zip(ours, theirs, strict=True):
        assert own.shape == reference.shape
        np.testing.assert_allclose(own, reference, atol=TOLERANCE, rtol=0)


# ---- colpali-engine --------------------------------------------------------------------------------


def colqwen2_of_engine(folder):
    from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

    ours = load(ColQwen2Embedder, folder, query_template="{query}{augmentation}")
    model = engine.ColQwen2(ours.family.model.config.vlm_config)
    names = {"vlm.": "", "embedding_proj_layer": "custom_text_proj"}
    processor = engine.ColQwen2Processor(
        image_processor=ours.family.image_processor,
        tokenizer=ours.family.tokenizer,
        video_processor=Qwen2VLVideoProcessor(),
    )
    return ours, renamed(model, ours.family.model, names), processor


def colpali_of_engine(folder):
    options = {
        "query_template": "<bos>{query}{augmentation}",
        "image_prompt": "<bos>Describe the image.",  # its text has a <bos>, and its processor adds one
    }
    ours = load(ColPaliEmbedder, folder, **options)
    model = engine.ColPali(ours.family.model.config.vlm_config)
    names = {"vlm.": "model.model.", "embedding_proj_layer": "custom_text_proj"}
    images = ours.family.image_processor
    images.image_seq_length = 16
    processor = engine.ColPaliProcessor(image_processor=images, tokenizer=ours.family.tokenizer)
    return ours, renamed(model, ours.family.model, names), processor


def colmodernvbert_of_engine(folder):
    ours = load(ColModernVBertEmbedder, folder)
    model = engine.ColModernVBert(ours.family.model.config.vlm_config)
    names = {"vlm.": "model.", "embedding_proj_layer": "custom_text_proj"}
    processor = engine.ColModernVBertProcessor(
        image_processor=ours.family.image_processor, tokenizer=ours.family.tokenizer, image_seq_len=4
    )
    return ours, renamed(model, ours.family.model, names), processor


ENGINE = {
    "colpali": colpali_of_engine,
    "colqwen2": colqwen2_of_engine,
    "colmodernvbert": colmodernvbert_of_engine,
}


@pytest.fixture(scope="module", params=list(ENGINE))
def pair(request, tmp_path_factory):
    """Our embedder with the engine's prompts, the engine's model with our weights, and its processor."""
    return ENGINE[request.param](MAKERS[request.param](tmp_path_factory.mktemp("tiny") / request.param))


def test_pages_are_those_of_colpali_engine(pair):
    ours, model, processor = pair

    assert_same(ours.encode_document(PAGES), vectors(model, processor.process_images(PICTURES)))


def test_queries_are_those_of_colpali_engine(pair):
    ours, model, processor = pair
    inputs = processor.process_queries(QUESTIONS)
    if isinstance(ours, ColPaliEmbedder):  # without them its queries are causal under transformers 5
        inputs["token_type_ids"] = torch.zeros_like(inputs["input_ids"])

    assert_same(ours.encode_query(QUESTIONS), vectors(model, inputs))


def test_scores_are_those_of_colpali_engine(pair):
    ours, _, processor = pair
    queries, pages = ours.encode_query(QUESTIONS), ours.encode_document(PAGES)
    theirs = processor.score_multi_vector(
        [torch.tensor(query) for query in queries], [torch.tensor(page) for page in pages], device="cpu"
    ).numpy()

    np.testing.assert_allclose([maxsim_ragged(query, pages) for query in queries], theirs, rtol=1e-5)
    for place, query in enumerate(queries):
        for column, page in enumerate(pages):
            assert maxsim(query[None], page[None])[0, 0] == pytest.approx(theirs[place, column], rel=1e-5)


@pytest.mark.parametrize(("tokens", "factor"), [(10, 2), (37, 3), (200, 3), (747, 12), (1030, 16)])
def test_pooled_rows_are_those_of_colpali_engine(tokens, factor):
    from colpali_engine.compression.token_pooling import HierarchicalTokenPooler

    random = np.random.default_rng(tokens)
    matrix = random.normal(size=(tokens, 128)) + random.normal(size=(9, 128))[random.integers(0, 9, tokens)]
    matrix = (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)

    def ordered(rows):
        return rows[np.lexsort(rows.T)]

    ours = ordered(pool_tokens(matrix, tokens // factor))
    [theirs] = HierarchicalTokenPooler().pool_embeddings([torch.tensor(matrix)], pool_factor=factor)
    np.testing.assert_allclose(ours, ordered(theirs.numpy()), atol=1e-6)


# ---- sentence-transformers -------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[True, False], ids=["tokenizer-adds-end", "tokenizer-adds-nothing"])
def single(request, tmp_path_factory):
    """Our embedder and sentence-transformers' on one folder, which it loads by its own files."""
    folder = make_qwen3_vl_embedding(tmp_path_factory.mktemp("tiny") / "model", appends_end=request.param)
    ours = load(Qwen3VLEmbedding, folder)
    theirs = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    theirs[0].processor.image_processor = ours.model.backbone.image_processor
    return ours, theirs


DEFAULT = "Represent the user's input."


def test_vectors_are_those_of_sentence_transformers(single):
    ours, theirs = single
    documents = ["hello", "longer " * 9, *PAGES, Content(text="with words", image=PICTURES[0])]
    inputs = ["hello", "longer " * 9, *PICTURES, {"image": PICTURES[0], "text": "with words"}]
    reference = [theirs.encode([given], prompt=DEFAULT) for given in inputs]

    assert_same(ours.encode_document(documents), reference)


def test_instructions_are_those_of_sentence_transformers(single):
    ours, theirs = single
    for instruction in ("Find the page.", "Is it so?"):
        [own] = ours.encode_query([Query(text="x", instruction=instruction)])
        np.testing.assert_allclose(own, theirs.encode(["x"], prompt=instruction), atol=TOLERANCE, rtol=0)


def test_a_text_cut_is_that_of_sentence_transformers(single):
    ours, theirs = single
    text = "a text that is too long " * 30
    short = Qwen3VLEmbedding(ours.model, name="short", max_tokens=150)
    before, theirs.max_seq_length = theirs.max_seq_length, 150
    try:
        reference = theirs.encode([text], prompt=DEFAULT)
    finally:
        theirs.max_seq_length = before

    np.testing.assert_allclose(short.encode_document([text])[0], reference, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("family", [ColPaliEmbedder, ColQwen2Embedder])
def test_multi_vectors_are_those_of_sentence_transformers(family, tmp_path):
    """ColModernVBert is left out: sentence-transformers 6.2 hands its processor images without a prompt."""
    folder = MAKERS[family.family_class.model_type](tmp_path / "model")
    theirs = sentence_transformers.MultiVectorEncoder(str(folder), device="cpu")
    ours = load(family, folder, **({"positions": "sequential"} if family is ColQwen2Embedder else {}))
    theirs[0].processor.image_processor = ours.family.image_processor

    assert_same(ours.encode_document(PAGES), [np.asarray(m) for m in theirs.encode_document(PICTURES)])
