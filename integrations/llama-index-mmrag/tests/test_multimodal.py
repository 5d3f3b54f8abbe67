"""The host's classes over a multimodal checkpoint: a tiny random model of a true class."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode
from PIL import Image

import llama_index.embeddings.mmrag.base as base
from llama_index.embeddings.mmrag import MMRagEmbedding
from llama_index.vector_stores.mmrag import MMRagVectorStore

pytest.importorskip("torch", reason="mmrag's extra 'mllm' is not installed")
pytest.importorskip("transformers", reason="mmrag's extra 'mllm' is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A checkpoint that says it was trained; its vectors mean nothing."""
    from mmrag import MLLMEmbedder
    from mmrag.models import checkpoint
    from mmrag.models.tiny import make_tiny

    plain = make_tiny(tmp_path_factory.mktemp("plain"))
    made = MLLMEmbedder.from_pretrained(plain, allow_untrained=True, device="cpu", max_visual_tokens=16)
    target = tmp_path_factory.mktemp("trained")
    checkpoint.save(target, made.model, replace(made.config, trained=True))
    return target


def test_a_folder_is_a_model_of_text_and_images(folder, tmp_path):
    model = MMRagEmbedding(str(folder), device="cpu", compression=3, budget=(2, 3))
    Image.effect_noise((60, 40), 90).save(tmp_path / "a.png")
    vectors = [
        model.get_text_embedding("a page"),
        model.get_query_embedding("a page"),
        model.get_image_embedding(str(tmp_path / "a.png")),
    ]
    for vector in vectors:
        assert len(vector) == 64 and np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert [m.shape for m in model.encode_query(["a"]) + model.encode_document(["b"])] == [(2, 64), (3, 64)]
    assert model.embedder.name.endswith("(compression 3)")


def test_pickling_loads_no_weights(folder, monkeypatch):
    """Bug guarded: a second copy of the model was loaded to find out that settings were enough."""
    model = MMRagEmbedding(str(folder), device="cpu", compression=3)
    query = model.get_query_embedding("tides")
    with monkeypatch.context() as patch:
        patch.setattr(base, "load_embedder", None)
        patch.setattr("mmrag.hosts.embedders.load_embedder", None)
        data = pickle.dumps(model)
    assert len(data) < 2000
    assert pickle.loads(data).get_query_embedding("tides") == pytest.approx(query, abs=1e-5)


def test_a_store_finds_texts_and_images(folder, tmp_path):
    model = MMRagEmbedding(str(folder), device="cpu")
    Image.effect_noise((60, 40), 90).save(tmp_path / "a.png")
    store = MMRagVectorStore(str(tmp_path / "index"), model=model.embedder)
    index = VectorStoreIndex.from_vector_store(store, embed_model=model)
    index.insert_nodes(
        [TextNode(text="The bridge was opened in 1932.", id_="bridge"), TextNode(text="Tea.", id_="tea")]
    )
    found = index.as_retriever(similarity_top_k=2).retrieve("When was the bridge opened?")
    assert {hit.node.node_id for hit in found} == {"bridge", "tea"}
