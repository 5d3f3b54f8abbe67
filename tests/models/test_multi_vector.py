"""A `MultiVectorEncoder` behind our protocol: the vectors and scores are sentence-transformers' own.

sentence-transformers stands in a folder of its own: ``make test-references`` installs it and runs this file.
"""

import importlib.util
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

if importlib.util.find_spec("sentence_transformers") is None:
    pytest.skip("run by `make test-references`", allow_module_level=True)

from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from transformers import AutoTokenizer, BertConfig, BertModel
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from mmrag import Budget, DocumentQA, MLLMEmbedder
from mmrag.embedders.base import Content
from mmrag.models.multi_vector import MultiVectorEmbedder
from mmrag.models.token_pooling import pool_levels
from mmrag.scoring import maxsim_ragged

from .tiny_foreign import MAKERS, sharpen, tokenizer_of

TOLERANCE = 2e-6
QUESTIONS = ["hello", "which pump ran longest in March?"]
TEXTS = ["Pump B ran longest: 41 hours.", "x", "The valve was closed on Monday, and nobody saw it."]


def make_bert(folder):
    tokenizer = tokenizer_of(
        ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]"],
        template="[CLS] $A [SEP]",
        pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]", unk_token="[UNK]",
    )  # fmt: skip
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=512,
    )  # fmt: skip
    sharpen(BertModel(config)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def colbert(tmp_path_factory):
    """A tiny ColBERT as sentence-transformers 6 saves it: prompts, query expansion, punctuation left out."""
    root = tmp_path_factory.mktemp("colbert")
    torch.manual_seed(1)
    body = Transformer(
        str(make_bert(root / "bert")), query_expansion={"strategy": "fixed", "length": 48, "attend": False},
        document_length=64,
    )  # fmt: skip
    head = Dense(
        32, 16, bias=False, activation_function=torch.nn.Identity(), module_input_name="token_embeddings"
    )
    modules = [
        body,
        head,
        MultiVectorMask(skiplist_words=[".", ","]),
        Normalize(module_input_name="token_embeddings"),
    ]
    model = MultiVectorEncoder(modules=modules, prompts={"query": "[Q] ", "document": "[D] "}, device="cpu")
    model.save_pretrained(str(root / "model"))
    return root / "model"


def load(folder, **options):
    return MLLMEmbedder.from_pretrained(folder, device="cpu", dtype="float32", **options)


def reference(folder):
    return MultiVectorEncoder(str(folder), device="cpu")


def assert_same(ours, theirs):
    assert len(ours) == len(theirs)
    for own, other in zip(ours, theirs, strict=True):
        assert own.shape == tuple(other.shape)
        np.testing.assert_allclose(own, other.cpu().numpy(), atol=TOLERANCE, rtol=0)


def test_vectors_and_scores_are_those_of_sentence_transformers(colbert):
    ours, theirs = load(colbert), reference(colbert)
    queries, pages = ours.encode_query(QUESTIONS), ours.encode_document(TEXTS)

    assert isinstance(ours, MultiVectorEmbedder) and ours.dim == 16 and ours.modalities == {"text"}
    assert_same(queries, theirs.encode_query(QUESTIONS))
    assert_same(pages, theirs.encode_document(TEXTS))
    scores = theirs.similarity(theirs.encode_query(QUESTIONS), theirs.encode_document(TEXTS)).numpy()
    np.testing.assert_allclose([maxsim_ragged(query, pages) for query in queries], scores, rtol=1e-5)


def test_a_query_keeps_its_expansion_and_a_document_loses_its_skipped_marks(colbert):
    ours = load(colbert)
    assert len(ours.encode_query(["hello"])[0]) == 48
    with_marks, without = ours.encode_document(["a.b,c", "abc"])
    assert len(with_marks) == len(without)


def test_a_long_text_is_encoded_in_pieces_and_no_word_of_it_is_lost(colbert):
    ours, theirs = load(colbert), reference(colbert)
    random = np.random.default_rng(3)
    words = [
        "".join(chr(97 + letter) for letter in random.integers(0, 26, size))
        for size in random.integers(1, 9, 90)
    ]
    words[40] = "z" * 200  # longer than a piece: cut inside
    text = " ".join(words)

    [prepared] = [ours._encoder.prepare(item, "document") for item in [_item(text)]]
    assert len(prepared.values) > 8
    assert "".join("".join(prepared.values).split()) == "".join(words)
    limit = ours._encoder.text_limit("document")
    assert all(len(ours._encoder._tokens(piece)) <= limit for piece in prepared.values)
    [matrix] = ours.encode_document([text])
    pieces = theirs.encode_document(list(prepared.values))
    np.testing.assert_allclose(matrix, torch.cat(list(pieces)).numpy(), atol=TOLERANCE, rtol=0)


def _item(text):
    from mmrag.models.inputs import Item

    return Item((text,))


def test_levels_are_clusters_of_the_same_tokens(colbert):
    whole, pooled = load(colbert), load(colbert, max_rows=8)
    [tokens], [rows] = whole.encode_document(TEXTS[:1]), pooled.encode_document(TEXTS[:1])

    assert not whole.nested and pooled.nested and pooled.budget.document == 8
    assert rows.shape == (8, 16) and whole.fingerprint != pooled.fingerprint
    assert load(colbert, budget=Budget(1, 8)).fingerprint == pooled.fingerprint
    mean = tokens.mean(0)
    np.testing.assert_allclose(rows[0], mean / np.linalg.norm(mean), atol=1e-5)
    assert {len(level) for level in (pool_levels(tokens, 1), pool_levels(tokens, 5))} == {1, 5}


def test_a_prefix_of_the_vectors_where_the_caller_says_so(colbert):
    whole, short = load(colbert), load(colbert, dim=8)
    [all_numbers], [some] = whole.encode_query(["hello"]), short.encode_query(["hello"])
    expected = all_numbers[:, :8] / np.linalg.norm(all_numbers[:, :8], axis=1, keepdims=True)
    np.testing.assert_allclose(some, expected, atol=1e-6)
    assert short.dim == 8
    with pytest.raises(ValueError, match="dim must be"):
        load(colbert, dim=17)


def test_an_index_is_searched_by_all_tokens_or_by_levels(colbert, tmp_path):
    for name, embedder in (("all", load(colbert)), ("levels", load(colbert, max_rows=16))):
        with DocumentQA.open(tmp_path / name, embedder=embedder) as qa:
            qa.add_texts([f"{text} {number}" for number in range(4) for text in TEXTS])
            [query] = embedder.encode_query(QUESTIONS[1:])
            pages = embedder.encode_document([f"{text} {number}" for number in range(4) for text in TEXTS])
            best = maxsim_ragged(query, pages).max()
            found = qa.search(QUESTIONS[1], k=3, channels=["vectors"], rerank=False)
            assert found[0].score == pytest.approx(best, rel=2e-2)  # rows are stored in fewer bits
    with DocumentQA.open(tmp_path / "levels", embedder=embedder) as qa:
        dialled = qa.search(QUESTIONS[1], k=3, budget=Budget(1, 5), channels=["vectors"], rerank=False)
        short = [page[:5] for page in pages]
        assert dialled[0].score == pytest.approx(
            maxsim_ragged(query, short).max(), rel=2e-2
        )  # every query token


def test_layouts_of_pylate_and_of_stanford_are_told_apart(colbert, tmp_path):
    pylate = shutil.copytree(colbert, tmp_path / "pylate")
    config = json.loads((pylate / "config_sentence_transformers.json").read_text())
    config |= {"model_type": "ColBERT", "query_prefix": "[Q] ", "document_prefix": "[D] ", "query_length": 32}
    (pylate / "config_sentence_transformers.json").write_text(json.dumps(config))
    ours, theirs = load(pylate), reference(pylate)
    assert_same(ours.encode_document(TEXTS), theirs.encode_document(TEXTS))

    stanford = make_bert(tmp_path / "stanford")
    bert = BertModel.from_pretrained(stanford)
    from safetensors.torch import save_file

    weights = {f"bert.{name}": value.contiguous() for name, value in bert.state_dict().items()}
    save_file(
        {**weights, "linear.weight": torch.randn(16, 32)}, stanford / "model.safetensors", {"format": "pt"}
    )
    config = json.loads((stanford / "config.json").read_text())
    (stanford / "config.json").write_text(json.dumps({**config, "architectures": ["HF_ColBERT"]}))
    ours, theirs = load(stanford), reference(stanford)
    assert ours.dim == 16
    assert_same(ours.encode_query(QUESTIONS), theirs.encode_query(QUESTIONS))


def picture(height, width, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("family", ["colpali", "colqwen2"])
def test_pictures_go_through_it_too(family, tmp_path):
    folder = MAKERS[family](tmp_path / "model")
    ours, theirs = load(folder, family="multi_vector_encoder"), reference(folder)
    pictures = [picture(70, 50), picture(50, 90, 1)]
    assert "image" in ours.modalities
    assert_same(
        ours.encode_document([Content(image=image) for image in pictures]), theirs.encode_document(pictures)
    )
    assert_same(ours.encode_query(QUESTIONS), theirs.encode_query(QUESTIONS))
    pooled = load(folder, family="multi_vector_encoder", max_rows=6)
    assert pooled.encode_document([Content(image=pictures[0])])[0].shape == (6, ours.dim)


def test_pages_are_rendered_at_the_area_that_the_caller_says(colbert):
    usual, large = load(colbert), load(colbert, image_pixels=5_000_000)
    assert (usual.image_pixels, large.image_pixels) == (1_500_000, 5_000_000)
    assert usual.fingerprint != large.fingerprint == load(colbert, image_pixels=5_000_000).fingerprint
    with pytest.raises(ValueError, match="image_pixels must be"):
        load(colbert, image_pixels=0)


def test_a_model_of_text_refuses_a_picture_and_says_what_it_takes(colbert):
    with pytest.raises(ValueError, match=r"must be of text for this model, got an image"):
        load(colbert).encode_document([Content(image=picture(20, 20))])


def test_no_code_of_a_checkpoint_is_run(colbert, tmp_path):
    hostile = shutil.copytree(colbert, tmp_path / "hostile")
    modules = json.loads((hostile / "modules.json").read_text())
    modules[1]["type"] = "evil.Module"
    (hostile / "modules.json").write_text(json.dumps(modules))
    (hostile / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Module: ...\n")
    with pytest.raises(ValueError, match="trust_remote_code"):
        load(hostile)
    pickled = shutil.copytree(colbert, tmp_path / "pickled")
    [weights] = pickled.glob("1_*/model.safetensors")
    weights.rename(weights.with_name("pytorch_model.bin"))
    with pytest.raises(FileNotFoundError, match="must be safetensors"):
        load(pickled)
    assert not (tmp_path / "ran").exists()


COLQWEN_TEMPLATE = (
    "{%- for message in messages -%}{%- if message.content is string -%}{{- message.content -}}"
    "{%- else -%}{%- for part in message.content -%}{%- if part.type == 'image' -%}"
    "{{- '<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Describe the image.<|im_end|>' -}}"
    "{{- '<|endoftext|>' -}}"
    "{%- else -%}{{- part.text -}}{%- endif -%}{%- endfor -%}{%- endif -%}{%- endfor -%}"
    "{%- if task is defined and task == 'query' -%}{{- '<|endoftext|>' * 10 -}}{%- endif -%}"
)
"""What colpali-engine's processor of ColQwen3.5 writes around a page and behind a query."""


@pytest.fixture(scope="module")
def evie(tmp_path_factory):
    """A tiny EVIE as sentence-transformers saves it: Qwen3.5 read in both directions, one wide projection."""
    from transformers import AutoConfig, Qwen3_5Model, Qwen3VLProcessor, Qwen3VLVideoProcessor

    from mmrag.models.tiny import make_tiny

    root = tmp_path_factory.mktemp("evie")
    body = make_tiny(root / "body", "qwen3_5")
    config = AutoConfig.from_pretrained(body)
    config.is_causal = config.text_config.is_causal = False
    sharpen(Qwen3_5Model.from_pretrained(body, config=config)).save_pretrained(body)
    Qwen3VLProcessor(
        Qwen2VLImageProcessorPil.from_pretrained(body),
        AutoTokenizer.from_pretrained(body, padding_side="left"),
        Qwen3VLVideoProcessor(),
        chat_template=COLQWEN_TEMPLATE,
    ).save_pretrained(body)
    torch.manual_seed(1)
    head = Dense(
        64, 32, bias=True, activation_function=torch.nn.Identity(), module_input_name="token_embeddings"
    )
    modules = [
        Transformer(str(body)),
        head,
        MultiVectorMask(),
        Normalize(module_input_name="token_embeddings"),
    ]
    MultiVectorEncoder(modules=modules, device="cpu").save_pretrained(str(root / "model"))
    return root / "model"


def colqwen3_5(folder, body):
    """The same weights in colpali-engine's class, its full attention turned as EVIE's repository turns it."""
    from colpali_engine.models import ColQwen3_5, ColQwen3_5Processor
    from safetensors.torch import load_file
    from transformers import AutoConfig, Qwen3VLProcessor

    config = AutoConfig.from_pretrained(body)
    config.dim = 32
    model = ColQwen3_5(config)
    dense = load_file(next(folder.glob("1_*/model.safetensors")))
    weights = {**load_file(body / "model.safetensors")}
    weights |= {f"custom_text_proj.{name.split('.')[-1]}": value for name, value in dense.items()}
    report = model.load_state_dict(weights, strict=True)
    assert not report.missing_keys
    for layer, kind in zip(model.language_model.layers, config.text_config.layer_types, strict=True):
        if kind == "full_attention":
            layer.self_attn.is_causal = False
    stock = Qwen3VLProcessor.from_pretrained(body)
    return model.eval(), ColQwen3_5Processor(stock.image_processor, stock.tokenizer, stock.video_processor)


def test_a_page_of_colqwen3_5_is_that_of_its_own_engine(evie):
    ours = load(evie, batch_size=3)
    model, processor = colqwen3_5(evie, evie.parent / "body")
    pictures = [picture(70, 50), picture(50, 90, 1), picture(120, 60, 2)]
    with torch.no_grad():
        for found, batch in (
            (
                ours.encode_document([Content(image=image) for image in pictures]),
                processor.process_images(pictures),
            ),
            (ours.encode_query(QUESTIONS), processor.process_queries(QUESTIONS)),
        ):
            model.rope_deltas = None
            expected = model(**batch)
            for own, theirs, mask in zip(found, expected, batch["attention_mask"].bool(), strict=True):
                assert own.shape == tuple(theirs[mask].shape)
                np.testing.assert_allclose(own, theirs[mask].numpy(), atol=1e-5, rtol=0)


def test_a_page_of_colqwen3_5_is_read_in_both_directions_alone_and_in_company(evie):
    ours = load(evie)
    pictures = [Content(image=picture(*size)) for size in ((70, 50), (50, 90), (120, 60))]
    alone = [ours.encode_document([page])[0] for page in pictures]
    for own, other in zip(ours.encode_document(pictures), alone, strict=True):
        np.testing.assert_allclose(own, other, atol=1e-4, rtol=0)  # padding shifts sums of the recurrence
    first, second = ours.encode_document(["one end", "one enD"])
    assert np.abs(first[0] - second[0]).max() > 1e-3  # the first token has seen the last


def test_levels_and_a_prefix_go_together(evie):
    small = load(evie, max_rows=16, dim=8)
    [rows] = small.encode_document([Content(image=picture(120, 60))])
    assert rows.shape == (16, 8) and small.nested and small.dim == 8
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


@pytest.fixture(scope="module")
def ultravbert(tmp_path_factory):
    """A tiny UltraVBERT read at every token, as ColUltraVBERT is: tiles of a page, no projection."""
    from transformers import UltraVBertConfig, UltraVBertModel
    from transformers.models.idefics3 import Idefics3Processor
    from transformers.models.ultravbert.image_processing_ultravbert import UltraVBertImageProcessor

    root = tmp_path_factory.mktemp("ultravbert")
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    marks = ["<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>"]
    tokenizer = tokenizer_of(["[PAD]", "[CLS]", "[SEP]", *marks, *tiles], template="[CLS] $A [SEP]",
                             pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]")  # fmt: skip
    images = UltraVBertImageProcessor(size={"longest_edge": 96}, max_image_size={"longest_edge": 32})
    processor = Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=ULTRA_TEMPLATE)
    torch.manual_seed(0)
    config = UltraVBertConfig(
        text_config={
            "model_type": "ultrabert", "vocab_size": len(tokenizer), "hidden_size": 32,
            "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "sliding_window": 8,
            "pad_token_id": 0,
        },
        vision_config={
            "model_type": "siglip_vision_model", "hidden_size": 32, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32, "patch_size": 8,
            "vision_use_head": False,
        },
        pixel_shuffle_factor=2, image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    sharpen(UltraVBertModel(config)).save_pretrained(root / "body")
    processor.save_pretrained(root / "body")
    modules = [
        Transformer(str(root / "body")), MultiVectorMask(), Normalize(module_input_name="token_embeddings")
    ]  # fmt: skip
    model = root / "model"
    MultiVectorEncoder(modules=modules, device="cpu").save_pretrained(str(model))
    config = json.loads((model / "config.json").read_text())  # the published one names code of its own, too
    names = {"AutoConfig": "modeling.UltraVBertConfig", "AutoModel": "modeling.UltraVBertModel"}
    (model / "config.json").write_text(json.dumps({**config, "auto_map": names}))
    (model / "modeling.py").write_text("raise SystemExit('code of a checkpoint was run')\n")
    return model


ULTRA_TEMPLATE = (
    "{%- for message in messages -%}{%- if message.content is string -%}{{- message.content -}}"
    "{%- else -%}{%- for part in message.content -%}{%- if part.type == 'image' -%}{{- '<image>' -}}"
    "{%- else -%}{{- part.text -}}{%- endif -%}{%- endfor -%}{%- endif -%}{%- endfor -%}"
)


def test_an_ultravbert_is_loaded_by_the_class_of_transformers_and_no_other(ultravbert):
    from transformers import AutoProcessor, UltraVBertModel

    ours = load(ultravbert)
    body = ultravbert.parent / "body"
    model, processor = UltraVBertModel.from_pretrained(body).eval(), AutoProcessor.from_pretrained(body)
    pictures = [picture(70, 50), picture(50, 90, 1)]
    found = ours.encode_document([Content(image=image) for image in pictures])
    assert type(ours.model[0].model) is UltraVBertModel and ours.modalities == {"text", "image"}
    for own, image in zip(found, pictures, strict=True):
        batch = processor(text="<image>", images=[image], return_tensors="pt")
        with torch.no_grad():
            states = model(**batch).last_hidden_state[0]
        expected = torch.nn.functional.normalize(states, dim=-1).numpy()
        assert own.shape == expected.shape
        np.testing.assert_allclose(own, expected, atol=1e-5, rtol=0)
    small = load(ultravbert, max_rows=8, dim=16).encode_document([Content(image=pictures[0])])
    assert small[0].shape == (8, 16)
