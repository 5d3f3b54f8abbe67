"""What a host's user writes, as objects of the core."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mmrag.embedders.mini.embedder import MODEL_DIR, MiniEmbedder
from mmrag.embedders.served import ServedEmbedder
from mmrag.embedders.text import TextEmbedder
from mmrag.models.load import DEFAULT_MODEL, is_embedder, load_embedder


def test_the_shipped_embedder_by_name_folder_and_nothing(tmp_path: Path) -> None:
    embedders = [load_embedder(), load_embedder(DEFAULT_MODEL), load_embedder(device="cpu")]
    assert all(isinstance(one, MiniEmbedder) for one in embedders)
    folder = shutil.copytree(MODEL_DIR, tmp_path / "copy")
    assert load_embedder(folder).fingerprint == embedders[0].fingerprint
    assert load_embedder(compression=1).compression == 1


def test_a_text_encoder_by_its_folder(text_encoder: Path) -> None:
    made = load_embedder(text_encoder)
    assert isinstance(made, TextEmbedder) and made.model_dir == text_encoder
    with pytest.raises(ValueError, match="a text encoder takes no compression, got compression=2"):
        load_embedder(text_encoder, compression=2)
    with pytest.raises(ValueError, match="a text encoder takes no device, got device='cuda'"):
        load_embedder(str(text_encoder), device="cuda")


def test_a_url_is_a_served_embedder_that_nobody_has_asked_yet() -> None:
    served = load_embedder("m", base_url="http://127.0.0.1:9/v1", api_key="sk-hidden")
    assert isinstance(served, ServedEmbedder) and served.model == "m"
    assert "sk-hidden" not in repr(served)
    assert load_embedder(served) is served  # would raise if it were asked for its width
    assert is_embedder(served) and not is_embedder("m") and not is_embedder(None)


@pytest.mark.parametrize(
    ("model", "settings", "error", "words"),
    [
        ("nope", {}, ValueError, "must be 'mmrag-mini', the folder"),
        (7, {}, TypeError, "a name, a folder or an embedder, got int"),
        (None, {"compression": 3}, ValueError, "must be 1 or 2"),
        (None, {"device": "cuda"}, ValueError, "takes no device, got device='cuda'"),
        ("m", {"base_url": "http://x", "device": "cpu"}, ValueError, "The server decides on them"),
        (MiniEmbedder(), {"device": "cpu"}, ValueError, "Set them on the embedder itself"),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    model: object, settings: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        load_embedder(model, **settings)  # type: ignore[arg-type]


def test_a_folder_without_a_model_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model\.onnx"):
        load_embedder(tmp_path)


def test_a_revision_is_what_the_hub_is_asked_for(monkeypatch, tmp_path):
    """A name of a hub means what its owner makes of it; a pinned one means the same tomorrow."""
    import huggingface_hub

    from mmrag.models.device import resolve_folder

    asked = {}
    monkeypatch.setattr(
        huggingface_hub,
        "snapshot_download",
        lambda name, **options: asked.update({"name": name, **options}) or str(tmp_path),
    )
    assert resolve_folder("org/name", revision="0123abc") == tmp_path
    assert (asked["name"], asked["revision"]) == ("org/name", "0123abc")
