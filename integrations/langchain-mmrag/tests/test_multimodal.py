"""The host's classes over a multimodal checkpoint: a tiny random model of a true class."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from langchain_core.documents import Document
from PIL import Image

from langchain_mmrag import MMRagEmbeddings, MMRagVectorStore

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


def test_a_folder_is_a_model_of_text_and_images(folder: Path) -> None:
    model = MMRagEmbeddings(model=str(folder), device="cpu", budget=(2, 3))
    picture = Image.effect_noise((60, 40), 90)
    (text,), (image,), query = (
        model.embed_documents(["a page"]),
        model.embed_images([picture]),
        model.embed_query("a page"),
    )
    for vector in (text, image, query):
        assert len(vector) == 64 and np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert np.shape(model.embed_images_multi([picture])[0]) == (3, 64)
    again = pickle.loads(pickle.dumps(model))
    assert again.embed_query("a page") == pytest.approx(query, abs=1e-5)


def test_compression_reaches_the_model(folder: Path) -> None:
    names = {MMRagEmbeddings(model=folder, compression=s, device="cpu").embedder.name[-15:] for s in (2, 3)}
    assert names == {"(compression 2)", "(compression 3)"}


async def test_a_store_adds_texts_and_images_and_finds_them(folder: Path, tmp_path: Path) -> None:
    model = MMRagEmbeddings(model=folder, device="cpu")
    Image.effect_noise((60, 40), 90).save(tmp_path / "a.png")
    with MMRagVectorStore(model, persist_directory=str(tmp_path / "index")) as store:
        store.add_documents(
            [Document("The bridge was opened in 1932.", id="bridge"), Document("Tea.", id="tea")]
        )
        store.add_images([str(tmp_path / "a.png")], ids=["picture"])
        found = await store.asimilarity_search("When was the bridge opened?", k=3)
        assert {document.id for document in found} == {"bridge", "tea", "picture"}
