"""Language models without a vision encoder: their states are the stock model's, pictures are refused."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize
from transformers import AutoModel

from mmrag import MLLMEmbedder
from mmrag.embedders.base import Content
from mmrag.errors import BadInputError
from mmrag.models.batch import TokenRow, collate
from mmrag.models.tiny import make_tiny

from .families import TEXT_ONLY

TEXTS = ["Net sales in Europe were 268.4.", "a", "The buoy was lost, and found again. " * 9]


@pytest.fixture(scope="module", params=TEXT_ONLY)
def folder(request, tiny_folder):
    return tiny_folder(request.param)


def test_a_single_vector_is_the_stock_models_last_state(folder):
    embedder = MLLMEmbedder.from_pretrained(folder, pooling="last", device="cpu")
    stock = AutoModel.from_pretrained(folder).eval()
    rows = [tuple(embedder.model.backbone.tokenizer(text).input_ids) for text in TEXTS]
    with torch.no_grad():
        vectors = embedder.model(collate([TokenRow(ids) for ids in rows], pad=0), "document")
        for ids, vector in zip(rows, vectors, strict=True):
            state = stock(torch.tensor([ids])).last_hidden_state[0, -1]
            assert (vector[0] - normalize(state[: embedder.dim], dim=0)).abs().max() < 1e-5


def test_rows_are_the_same_alone_and_in_company(folder):
    embedder = MLLMEmbedder.from_pretrained(folder, allow_untrained=True, device="cpu")
    for text, many in zip(TEXTS, embedder.encode_document(TEXTS), strict=True):
        alone = embedder.encode_document([text])[0]
        assert len(many) == embedder.budget.document
        assert np.abs(many - alone).max() < 1e-5


def test_a_picture_is_refused_with_what_to_do(folder):
    embedder = MLLMEmbedder.from_pretrained(folder, allow_untrained=True, device="cpu")
    assert embedder.modalities == frozenset({"text"})
    with pytest.raises((BadInputError, ValueError), match="reads text only"):
        embedder.encode_document([Content(image=Image.new("RGB", (40, 40)))])


def test_a_tokenizer_without_the_placeholder_is_refused(tmp_path):
    folder = make_tiny(tmp_path / "tiny", "qwen2")
    file = folder / "tokenizer.json"
    file.write_text(file.read_text().replace("<|image_pad|>", "<|picture_pad|>"))
    with pytest.raises(ValueError, match=r"must have the token <\|image_pad\|>"):
        MLLMEmbedder.from_pretrained(folder, allow_untrained=True, device="cpu")


def test_a_saved_checkpoint_gives_the_same_rows(folder, tmp_path):
    embedder = MLLMEmbedder.from_pretrained(folder, allow_untrained=True, device="cpu")
    embedder.save_pretrained(tmp_path / "saved")
    again = MLLMEmbedder.from_pretrained(tmp_path / "saved", allow_untrained=True, device="cpu")
    for left, right in zip(embedder.encode_document(TEXTS), again.encode_document(TEXTS), strict=True):
        assert np.abs(left - right).max() < 1e-6
