"""What a host's user writes, as objects of the core."""

from __future__ import annotations

import base64
import io
import shutil
from pathlib import Path

import pytest
from PIL import Image

from mmrag.embedders.mini.embedder import MODEL_DIR, MiniEmbedder
from mmrag.embedders.served import ServedEmbedder
from mmrag.embedders.text import TextEmbedder
from mmrag.errors import DocumentError
from mmrag.images import load_image
from mmrag.models.load import DEFAULT_MODEL, TEXT_MODEL, is_embedder, load_embedder


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a picture.png"
    Image.new("RGB", (4, 3), (255, 0, 0)).save(path)
    return path


def test_every_way_to_write_a_picture_is_the_same_picture(picture: Path) -> None:
    data = picture.read_bytes()
    uri = "data:image/png;base64," + base64.b64encode(data).decode()
    for source in (picture, str(picture), picture.as_uri(), uri, data, bytearray(data), io.BytesIO(data)):
        image = load_image(source)
        assert (image.size, image.convert("RGB").getpixel((1, 1))) == ((4, 3), (255, 0, 0))
    opened = Image.open(picture)
    assert load_image(opened) is opened


def test_a_stream_stays_where_it_is(picture: Path) -> None:
    stream = io.BytesIO(picture.read_bytes())
    stream.seek(5)
    load_image(stream)
    assert stream.tell() == 5


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ("/no/such.png", FileNotFoundError, r"must be there to be read, got '/no/such\.png'"),
        (b"no picture", DocumentError, "must be readable, got b'no picture'"),
        ("data:image/png;base64,!!!", DocumentError, "must be readable"),
        ("data:image/png,x", ValueError, "must be base64"),
        ("http://example.org/a.png", ValueError, "Download it"),
        (7, TypeError, "bytes or a PIL image, got int"),
    ],
)
def test_what_is_no_picture_is_named(source: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        load_image(source)  # type: ignore[arg-type]


def test_a_cut_off_picture_is_refused_at_once_not_when_it_is_drawn(picture: Path) -> None:
    Image.effect_noise((200, 200), 90).save(picture)
    with pytest.raises(DocumentError, match="must be readable"):
        load_image(picture.read_bytes()[:2000])


def test_a_long_source_is_shown_short() -> None:
    with pytest.raises(DocumentError) as caught:
        load_image("data:image/png;base64," + "QUJD" * 1000)
    assert len(str(caught.value)) < 400


def test_the_shipped_embedder_by_name_folder_and_nothing(tmp_path: Path) -> None:
    embedders = [load_embedder(), load_embedder(DEFAULT_MODEL), load_embedder(device="cpu")]
    assert all(isinstance(one, MiniEmbedder) for one in embedders)
    folder = shutil.copytree(MODEL_DIR, tmp_path / "copy")
    assert load_embedder(folder).fingerprint == embedders[0].fingerprint
    assert load_embedder(compression=1).compression == 1


def test_the_text_encoder_by_name() -> None:
    assert isinstance(load_embedder(TEXT_MODEL), TextEmbedder)


def test_a_url_is_a_served_embedder_that_nobody_has_asked_yet() -> None:
    served = load_embedder("m", base_url="http://127.0.0.1:9/v1", api_key="sk-hidden")
    assert isinstance(served, ServedEmbedder) and served.model == "m"
    assert "sk-hidden" not in repr(served)
    assert load_embedder(served) is served  # would raise if it were asked for its width
    assert is_embedder(served) and not is_embedder("m") and not is_embedder(None)


@pytest.mark.parametrize(
    ("model", "settings", "error", "words"),
    [
        ("nope", {}, ValueError, "must be 'mmrag-mini', 'bge-small-en-v1.5', the folder"),
        (7, {}, TypeError, "a name, a folder or an embedder, got int"),
        (TEXT_MODEL, {"compression": 2}, ValueError, "takes no compression, got compression=2"),
        (None, {"compression": 3}, ValueError, "must be 1 or 2"),
        (None, {"device": "cuda"}, ValueError, "takes no device, got device='cuda'"),
        ("m", {"base_url": "http://x", "device": "cpu"}, ValueError, "They are the server's to choose"),
        (TextEmbedder(), {"device": "cpu"}, ValueError, "Set them where it is made"),
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
