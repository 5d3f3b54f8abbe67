"""Tiny random models of the true classes, one a family, and what tests make inputs with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from mmrag.models.backbone import Backbone
from mmrag.models.batch import TokenRow
from mmrag.models.compression import Compression
from mmrag.models.registry import backbone_for
from mmrag.models.tiny import make_tiny

from .families import MULTIMODAL


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Models this small are slower on several threads, and sums then depend on how many there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family's tiny checkpoint, written once; read it, copy it, do not change it."""
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = make_tiny(tmp_path_factory.mktemp(family), family)
        return made[family]

    return folder


@pytest.fixture(scope="session")
def load_backbone(tiny_folder: Callable[[str], Path]) -> Callable[..., Backbone]:
    """A fresh model of a family, in float32 and eval mode unless said otherwise."""

    def load(family: str, **options) -> Backbone:
        adapter = backbone_for(family)
        options = {"dtype": torch.float32, **options}
        return adapter(*adapter.load_parts(str(tiny_folder(family)), **options)).eval()

    return load


@pytest.fixture(scope="session")
def backbones(load_backbone: Callable[..., Backbone]) -> dict[str, Backbone]:
    return {family: load_backbone(family) for family in MULTIMODAL}


@pytest.fixture(params=MULTIMODAL)
def backbone(request: pytest.FixtureRequest, backbones: dict[str, Backbone]) -> Backbone:
    """Each family in turn; shared by all tests, so no test may change it."""
    return backbones[request.param]


@pytest.fixture(params=["qwen2_5_vl", "qwen3_vl", "qwen3_5"])
def qwen(request: pytest.FixtureRequest, backbones: dict[str, Backbone]) -> Backbone:
    return backbones[request.param]


@pytest.fixture(scope="session")
def inputs() -> SimpleNamespace:
    """Pages, rows of tokens, and the arguments of the stock forward pass."""

    def page(height: int, width: int, seed: int = 0) -> Image.Image:
        """Noise over a gradient: neighbouring patches differ, and so do the page's corners."""
        noise = np.random.default_rng(seed).integers(0, 128, (height, width, 3))
        ramp = np.linspace(0, 127, height)[:, None, None] * np.linspace(0.2, 1, width)[None, :, None]
        return Image.fromarray((noise + ramp).astype(np.uint8))

    def row(
        backbone: Backbone,
        compression: Compression,
        text: str = "a page",
        sizes: Sequence[tuple[int, int]] = (),
        most: int = 100,
        seed: int = 0,
    ) -> TokenRow:
        """``text`` with an image of each size before, between or after its words."""
        images = [
            backbone.preprocess(page(*size, seed=seed + place), most, compression)
            for place, size in enumerate(sizes)
        ]
        marks = [backbone.image_text(backbone.token_count(image, compression)) for image in images]
        words = text.split(" ")
        joined = "".join(
            mark + (" " + words[place] if place < len(words) else "") for place, mark in enumerate(marks)
        ) + " ".join(words[len(marks) :])
        return TokenRow(tuple(backbone.tokenizer(joined).input_ids), tuple(images))

    def stock(backbone: Backbone, batch) -> dict:
        """What the stock class takes for the same batch, uncompressed."""
        arguments = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        if not batch.images:
            return arguments
        arguments["pixel_values"] = torch.cat([image.pixels for image in batch.images])
        if backbone.model_type != "internvl":
            arguments["image_grid_thw"] = torch.tensor([(1, *image.grids[0]) for image in batch.images])
            arguments["mm_token_type_ids"] = (batch.input_ids == backbone.image_token_id).int()
        return arguments

    return SimpleNamespace(page=page, row=row, stock=stock)
