"""Our composed loading against the stock processors, which need torchvision; skipped where it is missing.

The stock processor turns text and images into ids, pixels and grids; the stock model turns these into
states. Ours must give the same ids and grids, and pixels and states within the tolerance of two resizers:
torchvision and Pillow round bicubic samples differently, by one of 255 steps at most and rarely.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from .families import MULTIMODAL

ROOT = Path(__file__).parents[2]

# A CPU build of torch beside a CUDA build of torchvision lacks two operators that nothing here calls.
HOOK = """
import torch
try:
    import torchvision
except RuntimeError:
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""

COMPARE = """
import sys
import numpy as np
from PIL import Image
from transformers import AutoTokenizer
from mmrag.models.compression import Compression
from mmrag.models.registry import backbone_for
from mmrag.models.model import RetrievalModel
from mmrag.models.batch import TokenRow, collate

folder, family = sys.argv[1:]
adapter = backbone_for(family)
backbone = adapter(*adapter.load_parts(folder, dtype=torch.float32)).eval()
uncompressed = Compression(1)

if family == "internvl":
    from transformers import GotOcr2ImageProcessor, InternVLProcessor, InternVLVideoProcessor

    names = {"start_image_token": "<img>", "end_image_token": "</img>", "video_token": "<|video_pad|>"}
    tokenizer = AutoTokenizer.from_pretrained(
        folder, extra_special_tokens={**names, "context_image_token": backbone.image_token}
    )
    stock = InternVLProcessor(
        GotOcr2ImageProcessor.from_pretrained(folder), tokenizer, InternVLVideoProcessor(),
        image_seq_length=backbone.model.config.image_seq_length,
    )
    options, mark = {"min_patches": 1, "max_patches": 4}, "<IMG_CONTEXT>"
    most = 5 * 64
else:
    from transformers import Qwen2_5_VLProcessor, Qwen2VLImageProcessor, Qwen3VLProcessor
    from transformers import Qwen2VLVideoProcessor, Qwen3VLVideoProcessor

    kinds = {
        "qwen2_5_vl": (Qwen2_5_VLProcessor, Qwen2VLVideoProcessor),
        "qwen3_vl": (Qwen3VLProcessor, Qwen3VLVideoProcessor),
        "qwen3_5": (Qwen3VLProcessor, Qwen3VLVideoProcessor),
    }
    kind, video = kinds[family]
    stock = kind(Qwen2VLImageProcessor.from_pretrained(folder), backbone.tokenizer, video())
    most = 100
    bounds = {"shortest_edge": backbone.image_processor.size["shortest_edge"], "longest_edge": most * 16**2}
    options, mark = {"size": bounds}, "<|vision_start|><|image_pad|><|vision_end|>"

assert "Pil" not in type(stock.image_processor).__name__, type(stock.image_processor)
rng = np.random.default_rng(0)
for height, width in ((300, 200), (90, 400), (640, 480), (33, 35)):
    noise = rng.integers(0, 40, (height, width, 3))
    ramp = np.linspace(0, 200, height)[:, None, None] * np.linspace(0.3, 1, width)[None, :, None]
    page = Image.fromarray((noise + ramp).astype(np.uint8))
    theirs = stock(images=[page], text=["a " + mark + " page"], return_tensors="pt", **options)
    image = backbone.preprocess(page, most, uncompressed)
    text = "a " + backbone.image_text(backbone.token_count(image, uncompressed)) + " page"
    row = TokenRow(tuple(backbone.tokenizer(text).input_ids), (image,))
    assert list(row.ids) == theirs["input_ids"][0].tolist()
    if family != "internvl":
        assert [(1, *image.grids[0])] == [tuple(g) for g in theirs["image_grid_thw"].tolist()]
    off = (image.pixels - theirs["pixel_values"].float()).abs()
    assert off.max() < 0.04 and off.mean() < 1e-3, (off.max(), off.mean())  # a step is 0.015 to 0.018
    with torch.inference_mode():
        batch = collate([row], pad=backbone.tokenizer.pad_token_id)
        ours = RetrievalModel(backbone, uncompressed, None).states(batch)
        known = ("input_ids", "attention_mask", "pixel_values", "image_grid_thw", "mm_token_type_ids")
        given = {name: theirs[name] for name in known if name in theirs}
        expected = backbone.model(**given).last_hidden_state
    near = torch.nn.functional.cosine_similarity(ours, expected, dim=-1)
    assert near.min() > 0.995 and near.mean() > 0.999, (near.min(), near.mean())
print("compared", family)
"""


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed")
@pytest.mark.parametrize("family", MULTIMODAL)
def test_ids_grids_pixels_and_states_are_those_of_the_stock_processor(tiny_folder, family: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", HOOK + COMPARE, str(tiny_folder(family)), family],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert f"compared {family}" in run.stdout
