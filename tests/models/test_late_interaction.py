"""ColPali, ColQwen2 and ColModernVBert give the numbers of ``transformers``' own classes and processors."""

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from mmrag.embedders.base import Content, Embedder
from mmrag.errors import BadInputError
from mmrag.index.chroma import ChromaIndex
from mmrag.index.memory import MemoryIndex
from mmrag.models.colmodernvbert import ColModernVBertEmbedder
from mmrag.models.colpali import ColPaliEmbedder
from mmrag.models.colqwen2 import ColQwen2Embedder
from mmrag.models.inputs import Item
from mmrag.models.late_interaction import MAX_ROWS
from mmrag.models.token_pooling import pool_tokens
from mmrag.scoring import maxsim_ragged
from mmrag.types import Budget, Query, Record

from .tiny_foreign import DIM, MAKERS

CLASSES = {
    "colpali": (ColPaliEmbedder, "ColPali"),
    "colqwen2": (ColQwen2Embedder, "ColQwen2"),
    "colmodernvbert": (ColModernVBertEmbedder, "ColModernVBert"),
}
FAMILIES = list(CLASSES)

TOLERANCE = 1e-6
"""Absolute, on vectors of length one: float32 rounding of the same operations in another batch."""

QUESTIONS = ["hello", "which pump ran longest in March?", "a"]
SIZES = [(70, 50), (50, 90), (33, 200), (64, 64)]


def picture(height, width, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


PICTURES = [picture(*size, seed=place) for place, size in enumerate(SIZES)]
PAGES = [Content(image=image) for image in PICTURES]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("tiny")
    return {family: MAKERS[family](root / family) for family in FAMILIES}


def load(folders, family, **options):
    return CLASSES[family][0].from_folder(folders[family], device="cpu", dtype="float32", **options)


@pytest.fixture(scope="module")
def embedders(folders):
    return {family: load(folders, family) for family in FAMILIES}


@pytest.fixture(scope="module")
def stock(folders):
    """Model and stock processor of ``transformers``, loaded by their own ways."""
    found = {}
    for family, (_, name) in CLASSES.items():
        model = getattr(transformers, f"{name}ForRetrieval").from_pretrained(folders[family]).eval()
        found[family] = model, getattr(transformers, f"{name}Processor").from_pretrained(folders[family])
    return found


@torch.no_grad()
def stock_vectors(model, inputs):
    """Rows of tokens that are there, as the stock class gives them."""
    inputs = {name: value for name, value in inputs.items() if name != "labels"}
    vectors = model(**inputs).embeddings
    return [rows[mask.bool()].numpy() for rows, mask in zip(vectors, inputs["attention_mask"], strict=True)]


def assert_same(ours, theirs, tolerance=TOLERANCE):
    for own, reference in zip(ours, theirs, strict=True):
        assert own.shape == reference.shape and own.dtype == np.float32
        np.testing.assert_allclose(own, reference, atol=tolerance, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_queries_are_those_of_transformers(embedders, stock, family):
    model, processor = stock[family]

    assert_same(
        embedders[family].encode_query(QUESTIONS),
        stock_vectors(model, processor.process_queries(text=QUESTIONS)),
    )


@pytest.mark.parametrize("family", ["colpali", "colmodernvbert"])
def test_pages_are_those_of_transformers(embedders, stock, family):
    model, processor = stock[family]

    assert_same(
        embedders[family].encode_document(PAGES),
        stock_vectors(model, processor.process_images(images=PICTURES)),
    )


def test_colqwen2_pages_with_sequential_positions_are_those_of_transformers(folders, stock):
    model, processor = stock["colqwen2"]
    ours = load(folders, "colqwen2", positions="sequential").encode_document(PAGES)

    assert_same(ours, stock_vectors(model, processor.process_images(images=PICTURES)))


def test_colqwen2_pages_are_those_of_transformers_given_qwen2_vls_positions(embedders, stock):
    """Qwen2-VL's own `get_rope_index` gives the positions that the retrieval class leaves out."""
    model, processor = stock["colqwen2"]
    inputs = processor.process_images(images=PICTURES)
    images = (inputs["input_ids"] == model.config.vlm_config.image_token_id).int()
    inputs["position_ids"], _ = model.vlm.get_rope_index(
        inputs["input_ids"],
        mm_token_type_ids=images,
        image_grid_thw=inputs["image_grid_thw"],
        attention_mask=inputs["attention_mask"],
    )
    ours = embedders["colqwen2"].encode_document(PAGES)

    assert_same(ours, stock_vectors(model, inputs))
    inputs.pop("position_ids")
    assert np.abs(ours[0] - stock_vectors(model, inputs)[0]).max() > 0.01  # positions do matter


@pytest.mark.parametrize("family", FAMILIES)
def test_token_ids_are_those_of_the_stock_processor(embedders, stock, family):
    processor, ours = stock[family][1], embedders[family].family
    for image in PICTURES:
        theirs = processor.process_images(images=[image])["input_ids"][0].tolist()
        assert list(ours.image_row(image, None).ids) == theirs


@pytest.mark.parametrize("family", FAMILIES)
def test_company_in_a_batch_does_not_matter(embedders, family):
    embedder = embedders[family]

    alone = [embedder.encode_document([page])[0] for page in PAGES]
    assert_same(embedder.encode_document(PAGES), alone)
    assert_same(embedder.encode_document(PAGES[::-1])[::-1], alone)
    assert_same(embedder.encode_document(["some text", *PAGES])[1:], alone)
    assert_same(embedder.encode_document(PAGES, batch_size=1), alone)
    questions = [embedder.encode_query([question])[0] for question in QUESTIONS]
    assert_same(embedder.encode_query(QUESTIONS), questions)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_embedder_by_the_protocol_and_not_nested(embedders, family):
    embedder = embedders[family]

    assert isinstance(embedder, Embedder)
    assert (embedder.nested, embedder.dim, embedder.modalities) == (False, DIM, {"text", "image"})
    assert embedder.name == family
    assert repr(embedder).endswith(f"('{family}', budget=(1024, {embedder.budget.document}), dim=128)")
    for matrix in embedder.encode_document([*PAGES, "text", ""]) + embedder.encode_query(QUESTIONS):
        np.testing.assert_allclose(np.linalg.norm(matrix, axis=1), 1, atol=1e-6)
        assert len(matrix) <= min(embedder.budget.document, MAX_ROWS)
    assert embedder.encode_document([]) == []


@pytest.mark.parametrize("family", FAMILIES)
async def test_the_async_twins_give_the_same(embedders, family):
    embedder = embedders[family]

    assert_same(await embedder.aencode_document(PAGES[:2]), embedder.encode_document(PAGES[:2]), 0)
    assert_same(await embedder.aencode_query(QUESTIONS[:2]), embedder.encode_query(QUESTIONS[:2]), 0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_budget_pools_pages_and_leaves_queries_alone(folders, embedders, family):
    pooled, whole = load(folders, family, budget=Budget(1, 8)), embedders[family]

    ours = pooled.encode_document(PAGES)
    assert [len(matrix) for matrix in ours] == [8] * len(PAGES)
    assert_same(ours, [pool_tokens(matrix, 8) for matrix in whole.encode_document(PAGES)])
    assert_same(pooled.encode_query(QUESTIONS), whole.encode_query(QUESTIONS))
    assert pooled.budget.document == 8


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_those_of_the_stock_processor(embedders, stock, family):
    embedder, processor = embedders[family], stock[family][1]
    queries, pages = embedder.encode_query(QUESTIONS), embedder.encode_document(PAGES)

    theirs = processor.score_retrieval(
        [torch.tensor(matrix) for matrix in queries], [torch.tensor(matrix) for matrix in pages]
    )
    ours = np.stack([maxsim_ragged(query, pages) for query in queries])
    # the stock score pads pages with zero vectors, which win where every similarity is negative
    lowest = min(float((query @ page.T).max(1).min()) for query in queries for page in pages)
    assert lowest > 0
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("home", ["memory", "chroma"])
def test_an_index_finds_pages_by_all_their_rows(embedders, tmp_path, family, home):
    embedder = embedders[family]
    index = MemoryIndex.for_embedder(embedder) if home == "memory" else ChromaIndex.open(tmp_path, embedder)
    pages = embedder.encode_document(PAGES)
    index.add([Record(str(place), matrix) for place, matrix in enumerate(pages)])
    query = embedder.encode_query(QUESTIONS[:1])[0]

    hits = index.search_vectors(query, k=4, exact=True)
    stored = index.get([str(place) for place in range(len(pages))], matrices=True)
    scores = maxsim_ragged(query, [np.asarray(record.matrix, np.float32) for record in stored])
    assert {hit.id: pytest.approx(hit.score, abs=1e-3) for hit in hits} == {
        str(place): score for place, score in enumerate(scores)
    }
    # a number of a row at length one is off by at most 1/254, of a whole row by much less
    np.testing.assert_allclose(scores, maxsim_ragged(query, pages), atol=2e-3 * len(query))
    index.close()


@pytest.mark.parametrize("home", ["memory", "chroma"])
def test_an_index_takes_pages_of_a_thousand_rows(tmp_path, home):
    """ColPali at its published size: 1024 patches and the six tokens of its prompt."""

    class Identity:
        name, fingerprint, dim = "colpali", "0" * 32, 128

    random = np.random.default_rng(0)
    pages = [random.normal(size=(1030, 128)) for _ in range(5)]
    pages = [(page / np.linalg.norm(page, axis=1, keepdims=True)).astype(np.float16) for page in pages]
    query = np.concatenate([pages[3][500:515], pages[2][1029:]]).astype(np.float32)
    index = MemoryIndex.for_embedder(Identity) if home == "memory" else ChromaIndex.open(tmp_path, Identity)
    index.add([Record(str(place), page) for place, page in enumerate(pages)])

    assert [hit.id for hit in index.search_vectors(query, k=2, exact=True)] == ["3", "2"]
    assert index.get(["4"], matrices=True)[0].matrix.shape == (1030, 128)
    index.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_what_changes_vectors_changes_the_fingerprint(folders, embedders, family, tmp_path):
    first = embedders[family].fingerprint
    other = CLASSES[family][0].from_folder(MAKERS[family](tmp_path / "other", seed=1), device="cpu")
    changed = [
        load(folders, family, budget=Budget(1, 8)),
        load(folders, family, query_template="{query}"),
        load(folders, family, image_prompt=f"{embedders[family].family.settings['visual_prompt_prefix']}!"),
        load(folders, family, max_visual_tokens=16),
        other,
    ]

    assert load(folders, family).fingerprint == first
    assert len({first, *(embedder.fingerprint for embedder in changed)}) == 6


@pytest.mark.parametrize("family", ["colqwen2", "colmodernvbert"])
def test_visual_tokens_can_be_limited(folders, embedders, family):
    placeholder = embedders[family].family.tokenizer.convert_tokens_to_ids(
        {"colqwen2": "<|image_pad|>", "colmodernvbert": "<image>"}[family]
    )
    for most in (8, 20, 48):
        limited = load(folders, family, max_visual_tokens=most).family
        for image in PICTURES:
            assert 0 < limited.image_row(image, most).ids.count(placeholder) <= most


def test_colpali_has_one_size_and_says_so(folders):
    with pytest.raises(ValueError, match=r"max_visual_tokens must be at least 16 .* got 8"):
        load(folders, "colpali", max_visual_tokens=8)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_long_query_is_cut_and_keeps_its_end(folders, family):
    embedder = load(folders, family, max_tokens=40)
    family_ = embedder.family
    short = embedder.encode_query(["word " * 3])[0]
    [long] = embedder.encode_query(["word " * 500])
    ids = embedder._encoder.prepare(Item(("word " * 500,)), "query").row.ids

    assert len(short) < len(long) == len(ids) == 40
    augmentation = family_.tokenizer.convert_tokens_to_ids(family_.augmentation_token)
    assert ids[-15:].count(augmentation) == 10
    assert ids[-1] == embedder._encoder.prepare(Item(("word",)), "query").row.ids[-1]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_text_cannot_spell_a_special_token(embedders, family):
    ours = embedders[family].family
    special = [token.content for token in ours.tokenizer.added_tokens_decoder.values() if token.special]
    plain = embedders[family]._encoder.prepare(Item(("x",)), "query").row.ids
    ids = embedders[family]._encoder.prepare(Item((" ".join(special),)), "query").row.ids

    marks = set(ours.tokenizer.convert_tokens_to_ids(special))
    assert [i for i in ids if i in marks] == [i for i in plain if i in marks]
    assert len(ids) > len(plain) + len(special)


@pytest.mark.parametrize("family", FAMILIES)
def test_pictures_of_any_mode_are_taken(embedders, family):
    modes = ["L", "LA", "RGBA", "P", "CMYK", "I;16", "F", "1"]
    pages = [Content(image=Image.new(mode, (40, 30))) for mode in modes]

    matrices = embedders[family].encode_document(pages)
    assert all(np.isfinite(matrix).all() for matrix in matrices)


@pytest.mark.parametrize("family", FAMILIES)
def test_bad_input_is_named_by_its_place(embedders, family):
    embedder = embedders[family]

    with pytest.raises(BadInputError, match=r"query 1: .*words or an image.* got both"):
        embedder.encode_query(["fine", Query(text="and", image=PICTURES[0])])
    with pytest.raises(BadInputError, match=r"document 2: .*at most one image"):
        embedder.encode_document(["fine", "too", Content(parts=(PICTURES[0], PICTURES[1]))])
    with pytest.raises(BadInputError, match="document 1: an image must be at most 200 times as long"):
        embedder.encode_document([PAGES[0], Content(image=Image.new("RGB", (900, 2)))])
    with pytest.raises(TypeError, match="a document must be str, Page or Content, got int at 0"):
        embedder.encode_document([3])
    with pytest.raises(ValueError, match="batch_size must be a whole number of at least 1, got 0"):
        embedder.encode_query(["x"], batch_size=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_options_that_do_not_apply_are_refused(folders, family):
    with pytest.raises(ValueError, match="compression does not apply"):
        load(folders, family, compression=2)
    with pytest.raises(ValueError, match=f"dim must be {DIM}"):
        load(folders, family, dim=8)
    with pytest.raises(ValueError, match=r"query_template must have \{query\}"):
        load(folders, family, query_template="words")
    with pytest.raises(ValueError, match=r"positions of .* must be one of"):
        load(folders, family, positions="round")


def test_an_image_can_be_a_query(embedders):
    """Not trained for, but legal: it finds itself."""
    for family in FAMILIES:
        [query] = embedders[family].encode_query([Query(image=PICTURES[1])])
        scores = maxsim_ragged(query, embedders[family].encode_document(PAGES))
        assert int(scores.argmax()) == 1
