"""Laws of the adapters: equal to stock at s = 1, to a plain implementation at s > 1, budgets, errors."""

import math
import random
import shutil
import threading
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from mmrag.models.backbone import load_model
from mmrag.models.batch import collate
from mmrag.models.compression import Compression
from mmrag.models.model import RetrievalModel
from mmrag.models.qwen_common import fit
from mmrag.models.registry import backbone_for

from . import plain_compression as plain
from .families import MULTIMODAL

CONTENT = {
    "text only": [("only words", [])],
    "one image": [("a page", [(112, 130)])],
    "several images": [("first second third last", [(64, 64), (150, 70), (40, 200)])],
    "a batch": [("words", []), ("a much longer row", [(90, 130)]), ("two", [(130, 90), (70, 70)])],
}


def batch_of(backbone, inputs, compression, content, **options):
    rows = [
        inputs.row(backbone, compression, text, sizes, most=options.get("most", 100), seed=place)
        for place, (text, sizes) in enumerate(CONTENT[content])
    ]
    return collate(rows, pad=backbone.tokenizer.pad_token_id)


# --- against the stock classes -----------------------------------------------------------------------


@pytest.mark.parametrize("content", CONTENT)
def test_uncompressed_states_are_stock_states_bit_for_bit(backbone, inputs, content) -> None:
    batch = batch_of(backbone, inputs, Compression(1), content)
    with torch.inference_mode():
        ours = RetrievalModel(backbone, Compression(1), None).states(batch)
        stock = backbone.model(**inputs.stock(backbone, batch)).last_hidden_state
    assert torch.equal(ours, stock)


@pytest.mark.parametrize("family", MULTIMODAL)
@pytest.mark.parametrize("options", [{"dtype": torch.bfloat16}, {"attn_implementation": "eager"}])
def test_so_they_are_in_bfloat16_and_with_another_attention(load_backbone, inputs, family, options) -> None:
    backbone = load_backbone(family, **options)
    batch = batch_of(backbone, inputs, Compression(1), "a batch")
    with torch.inference_mode():
        ours = RetrievalModel(backbone, Compression(1), None).states(batch)
        stock = backbone.model(**inputs.stock(backbone, batch)).last_hidden_state
    assert ours.dtype == options.get("dtype", torch.float32)
    assert torch.equal(ours, stock)


@pytest.mark.parametrize("content", CONTENT)
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_compressed_states_equal_the_plain_implementation(backbone, inputs, factor, content) -> None:
    compression = Compression(factor)
    batch = batch_of(backbone, inputs, compression, content)
    with torch.no_grad():
        ours = RetrievalModel(backbone, compression, None).states(batch)
        expected = plain.states(backbone, batch, factor)
    real = batch.attention_mask.bool()
    torch.testing.assert_close(ours[real], expected[real], atol=1e-5, rtol=1e-5)


def test_visual_tokens_depend_on_where_patches_stand(backbone, inputs) -> None:
    """The test above is no law on models that cannot tell places: turn the page by half, and it shows."""
    compression = Compression(2)
    page = inputs.page(96, 64)
    images = [backbone.preprocess(p, 100, compression) for p in (page, page.rotate(180))]
    with torch.no_grad():
        there, turned = (backbone.encode_images([image], compression).tokens for image in images)
    assert (there - turned).abs().mean() > 0.1 * there.abs().mean()
    assert (there - turned.flip(0)).abs().mean() > 0.1 * there.abs().mean()


def recorded(backbone, module_names, run):
    """Inputs and outputs of all modules of these names during a run."""
    seen, hooks = [], []
    for name, module in backbone.model.named_modules():
        if any(name.endswith(end) for end in module_names):
            hooks.append(
                module.register_forward_hook(
                    lambda _, arguments, out, name=name: seen.append((name, arguments[0].detach(), out))
                )
            )
    with torch.no_grad():
        run()
    for hook in hooks:
        hook.remove()
    return seen


VISION_LAYERS = {
    "qwen2_5_vl": [f"visual.blocks.{layer}" for layer in range(3)],
    "qwen3_vl": [f"visual.blocks.{layer}" for layer in range(3)],
    "qwen3_5": [f"visual.blocks.{layer}" for layer in range(3)],
    "internvl": [f"vision_tower.encoder.layer.{layer}" for layer in range(2)],
}
CONNECTORS = {
    "qwen2_5_vl": ["visual.merger"],
    "qwen3_vl": ["visual.merger", "deepstack_merger_list.0", "deepstack_merger_list.1"],
    "qwen3_5": ["visual.merger"],
    "internvl": ["multi_modal_projector"],
}


def test_compression_changes_nothing_in_the_encoder(backbone, inputs) -> None:
    images = [backbone.preprocess(inputs.page(*size), 100, Compression(2)) for size in ((96, 64), (50, 150))]
    runs = [
        recorded(
            backbone,
            VISION_LAYERS[backbone.model_type],
            lambda factor=factor: backbone.encode_images(images, Compression(factor)),
        )
        for factor in (1, 2, 3)
    ]
    assert len(runs[0]) == len(VISION_LAYERS[backbone.model_type])
    for run in runs[1:]:
        for (name, _, expected), (_, _, out) in zip(runs[0], run, strict=True):
            assert torch.equal(expected, out), name


def test_the_connector_sees_the_resized_grid(backbone, inputs) -> None:
    compression = Compression(2)
    image = backbone.preprocess(inputs.page(96, 64), 100, compression)
    seen = recorded(
        backbone,
        CONNECTORS[backbone.model_type],
        lambda: backbone.encode_images([image], compression),
    )
    last = {name: out for name, _, out in seen}
    assert len(last) == len(CONNECTORS[backbone.model_type])
    for out in last.values():
        assert math.prod(out.shape[:-1]) == backbone.token_count(image, compression)


def test_the_tiny_sizes_reach_every_path(backbones, inputs) -> None:
    """Several windows, smaller ones at the edge; both kinds of attention; DeepStack; tiles; recurrence."""
    vision = backbones["qwen2_5_vl"].model.visual
    page = backbones["qwen2_5_vl"].preprocess(inputs.page(112, 130), 100, Compression(1))
    rows, columns = (side // 2 for side in page.grids[0])
    window = vision.window_size // vision.patch_size // 2
    assert rows > window < columns
    assert rows % window
    assert 0 < len(vision.fullatt_block_indexes) < len(vision.blocks)
    assert len(backbones["qwen3_vl"].model.visual.deepstack_merger_list) == 2
    kinds = {"linear_attention", "full_attention"}
    assert set(backbones["qwen3_5"].model.config.text_config.layer_types) == kinds
    assert len(backbones["internvl"].preprocess(inputs.page(90, 130), 100, Compression(2)).grids) > 2
    assert backbones["internvl"].model.vision_tower.embeddings.position_embeddings.std() > 0.05


def test_threads_that_share_a_model_do_not_disturb_each_other(backbone, inputs) -> None:
    jobs = [(size, factor) for size in ((96, 64), (50, 150), (64, 64)) for factor in (1, 2, 3)]
    images = [backbone.preprocess(inputs.page(*size), 100, Compression(factor)) for size, factor in jobs]

    def encode(place: int) -> torch.Tensor:
        with torch.no_grad():
            return backbone.encode_images([images[place]], Compression(jobs[place][1])).tokens

    expected = [encode(place) for place in range(len(jobs))]
    got: dict[tuple[int, int], torch.Tensor] = {}
    threads = [
        threading.Thread(target=lambda t=t: [got.__setitem__((t, p), encode(p)) for p in range(t, len(jobs))])
        for t in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == sum(len(jobs) - t for t in range(4))
    for (_, place), tokens in got.items():
        torch.testing.assert_close(tokens, expected[place])


def test_a_model_may_be_wrapped_twice(backbone, inputs) -> None:
    compression = Compression(2)
    again = type(backbone)(backbone.model, backbone.tokenizer, backbone.image_processor)
    image = backbone.preprocess(inputs.page(96, 64), 100, compression)
    with torch.no_grad():
        expected = backbone.encode_images([image], compression).tokens
        assert torch.equal(again.encode_images([image], compression).tokens, expected)


# --- sizes -------------------------------------------------------------------------------------------


def shapes(count: int, seed: int = 5) -> list[tuple[int, int]]:
    """Page-like shapes, thumbnails, and strips up to 1 x 3000."""
    rng = random.Random(seed)
    pages = [(rng.randint(20, 900), rng.randint(20, 900)) for _ in range(count * 2 // 3)]
    strips = [(rng.randint(1, 6), rng.randint(1, 3000)) for _ in range(count - len(pages))]
    return pages + [shape if place % 2 else shape[::-1] for place, shape in enumerate(strips)]


def least_tokens(backbone, compression) -> int:
    if backbone.model_type != "internvl":
        return 1
    return math.prod(compression.grid(backbone.tile_grid, 2)) // 4


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_placeholders_are_as_many_as_features_and_within_the_budget(backbone, factor) -> None:
    compression, rng = Compression(factor), random.Random(factor)
    least = least_tokens(backbone, compression)
    images, marks = [], []
    for height, width in shapes(75, seed=factor):
        budget = least + rng.randint(0, 40 // factor if least == 1 else 3 * least)
        images.append(backbone.preprocess(Image.new("RGB", (width, height), "white"), budget, compression))
        tokens = backbone.token_count(images[-1], compression)
        assert 1 <= tokens <= budget, (height, width, budget)
        ids = backbone.tokenizer(backbone.image_text(tokens)).input_ids
        assert len(ids) == tokens + 2
        marks.append(ids.count(backbone.image_token_id))
    with torch.inference_mode():
        for start in range(0, len(images), 15):
            made = backbone.encode_images(images[start : start + 15], compression)
            assert len(made.tokens) == sum(marks[start : start + 15])
            assert all(deep.shape == made.tokens.shape for deep in made.deep)


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("block", [16, 28, 32])
def test_the_budget_holds_for_every_shape(block: int, factor: int) -> None:
    compression = Compression(factor)
    for place, size in enumerate(shapes(900, seed=block)):
        budget = (1, 2, 3, 7, 64, 320, 1024)[place % 7]
        sides = fit(size, block=block, pixels=(56 * 56, 10**9), max_tokens=budget, compression=compression)
        tokens = compression.grid(sides, 1)  # raises where a side vanishes
        assert math.prod(tokens) <= budget


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_most_of_the_budget_is_used_and_the_shape_kept(factor: int) -> None:
    for budget in (64, 320, 1024):
        for size in ((6000, 4200), (4200, 6000), (5000, 5000)):
            rows, columns = fit(
                size, block=28, pixels=(3136, 10**9), max_tokens=budget, compression=Compression(factor)
            )
            used = math.prod(Compression(factor).grid((rows, columns), 1)) / budget
            assert used >= (0.75 if budget == 64 else 0.85)  # whole blocks, rounded down as stock does
            assert rows / columns == pytest.approx(size[0] / size[1], rel=0.06)


def test_an_uncompressed_image_has_the_size_that_the_stock_processor_gives_it(qwen, inputs) -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    bounds, equal = (3136, 64 * 28**2), 0
    for size in shapes(600):
        if max(size) > 199 * min(size):
            continue
        stock = smart_resize(*size, factor=28, min_pixels=bounds[0], max_pixels=bounds[1])
        ours = fit(size, block=28, pixels=bounds, max_tokens=64, compression=Compression(1))
        if math.prod(stock) > bounds[1]:
            assert math.prod(ours) <= 64  # stock keeps a strip longer than its own bound
        else:
            assert tuple(side * 28 for side in ours) == stock
            equal += 1
    assert equal > 400


@pytest.mark.parametrize("size", [(90, 130), (500, 300), (17, 23), (999, 1000)])
def test_an_uncompressed_image_has_the_pixels_that_the_stock_processor_gives_it(qwen, inputs, size) -> None:
    page = inputs.page(*size)
    ours = qwen.preprocess(page, 100, Compression(1))
    bounds = {"shortest_edge": qwen.image_processor.size["shortest_edge"], "longest_edge": 100 * 16**2}
    stock = qwen.image_processor(images=[page], size=bounds, return_tensors="pt")
    # two ways to the same pixels: a step of their 256 is .015, float32 rounds at 1e-7
    torch.testing.assert_close(ours.pixels, stock["pixel_values"], rtol=0, atol=1e-5)
    assert [(1, *ours.grids[0])] == [tuple(stock["image_grid_thw"][0].tolist())]


def test_a_small_image_is_enlarged_as_the_checkpoint_says_and_the_budget_allows(qwen) -> None:
    dot = Image.new("RGB", (1, 1), "black")
    assert qwen.preprocess(dot, 100, Compression(1)).grids == ((4, 4),)  # four blocks of 16 pixels
    assert qwen.preprocess(dot, 100, Compression(3)).grids == ((4, 4),)
    assert qwen.preprocess(dot, 3, Compression(1)).grids == ((4, 2),)


@pytest.mark.parametrize(
    ("size", "budget", "tiles"),
    [
        ((400, 400), 16 * 5, 4 + 1),  # the paper's documents: four tiles and the thumbnail
        ((400, 400), 16 * 4, 1),  # three tiles give a square no better shape than one
        ((800, 400), 16 * 4, 2 + 1),
        ((1200, 400), 16 * 4, 3 + 1),
        ((1200, 400), 16 * 3 + 15, 2 + 1),
        ((800, 400), 16 * 2, 1),  # two places: a tile and its thumbnail would be the same picture
        ((800, 400), 16, 1),  # the paper's natural images
        ((40, 40), 16 * 100, 1),  # smaller than a tile
        ((9000, 9), 16 * 100, 12 + 1),  # never more tiles than max_patches
    ],
)
def test_tiles_and_thumbnail_fit_the_budget(backbones, size, budget, tiles) -> None:
    backbone = backbones["internvl"]
    page = Image.new("RGB", size, "white")
    image = backbone.preprocess(page, budget, Compression(2))
    assert len(image.grids) == len(image.pixels) == tiles
    assert backbone.token_count(image, Compression(2)) == 16 * tiles


def test_the_thumbnail_comes_last_and_tiles_go_row_by_row(backbones) -> None:
    backbone = backbones["internvl"]
    page = Image.new("RGB", (128, 128), "white")
    page.paste("black", (64, 0, 128, 64))  # upper right
    image = backbone.preprocess(page, 16 * 5, Compression(2))
    assert [tile.mean() < 0 for tile in image.pixels] == [False, True, False, False, False]
    alone = backbone.preprocess(page, 16, Compression(2))
    torch.testing.assert_close(image.pixels[-1:], alone.pixels, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 3), (3, 1), (3, 3), (1, 5000), (4000, 3)])
def test_odd_sizes_are_read_as_what_they_are(backbone, size) -> None:
    """Sides of 1 and 3 pixels could be taken for colour channels."""
    image = backbone.preprocess(Image.new("RGB", size, (255, 0, 0)), 64, Compression(2))
    with torch.inference_mode():
        tokens = backbone.encode_images([image], Compression(2)).tokens
    assert len(tokens) == backbone.token_count(image, Compression(2)) <= 64
    mean, std = (
        torch.tensor(v) for v in (backbone.image_processor.image_mean, backbone.image_processor.image_std)
    )
    colours = (torch.tensor([1.0, 0.0, 0.0]) - mean) / std
    channels = image.pixels.reshape(len(image.pixels), 3, -1)
    torch.testing.assert_close(channels, colours[None, :, None].expand_as(channels), atol=1e-5, rtol=0)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_a_picture_of_the_pixels_in_use_is_taken_whole_and_a_larger_one_no_larger(backbone, factor) -> None:
    compression = Compression(factor)
    budget = 5 * least_tokens(backbone, compression) if backbone.model_type == "internvl" else 64
    used = backbone.pixels(budget, compression)
    side = math.isqrt(used)
    shapes = [
        backbone.preprocess(Image.new("RGB", (size, size)), budget, compression).pixels.shape
        for size in (side, 4 * side, side // 2)
    ]
    assert shapes[0] == shapes[1]
    assert shapes[0].numel() > shapes[2].numel()
    thumbnail = 64**2 if backbone.model_type == "internvl" else 0
    frames = 1 if backbone.model_type == "internvl" else 2  # Qwen writes a picture as two frames
    assert shapes[0].numel() // (3 * frames) - thumbnail == side**2 == used


# --- what is refused ---------------------------------------------------------------------------------


def test_what_is_no_rgb_image_is_refused(backbone) -> None:
    with pytest.raises(ValueError, match=r"must be RGB, got mode 'P'. Convert it"):
        backbone.preprocess(Image.new("P", (40, 40)), 64, Compression(2))
    with pytest.raises(ValueError, match=r"must have pixels, got size \(0, 40\)"):
        backbone.preprocess(Image.new("RGB", (0, 40)), 64, Compression(2))


def test_a_budget_without_a_token_is_refused(backbone) -> None:
    with pytest.raises(ValueError, match="max_tokens must be at least 1, got 0"):
        backbone.preprocess(Image.new("RGB", (40, 40)), 0, Compression(2))


def test_a_budget_below_one_tile_is_refused(backbones) -> None:
    with pytest.raises(ValueError, match=r"at least 16 for this model at compression 2 \(one tile\), got 15"):
        backbones["internvl"].preprocess(Image.new("RGB", (40, 40)), 15, Compression(2))


@pytest.mark.parametrize(
    ("model_type", "hint"), [("llama", "one of these families"), ("internvl_chat", "-hf")]
)
def test_an_unknown_family_is_refused(model_type: str, hint: str) -> None:
    known = "'internvl', 'mmrag_mini', 'qwen2', 'qwen2_5_vl', 'qwen3', 'qwen3_5', 'qwen3_vl'"
    with pytest.raises(ValueError, match=f"must be one of {known}, got.*{hint}"):
        backbone_for(model_type)


def altered(folder: Path, to: Path, change) -> Path:
    """A copy of a checkpoint with its tensors changed."""
    shutil.copytree(folder, to)
    file = to / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})
    return to


@pytest.mark.parametrize("family", MULTIMODAL)
def test_missing_or_misshapen_weights_are_refused(tiny_folder, tmp_path, family) -> None:
    """Stock loading would make them up and say so in a table of its log."""
    adapter = backbone_for(family)

    def without(tensors):
        name = next(name for name in tensors if "layers.1.mlp.up_proj" in name)
        return {key: value for key, value in tensors.items() if key != name}

    def narrower(tensors):
        name = next(name for name in tensors if "layers.1.mlp.up_proj" in name)
        return {**tensors, name: tensors[name][:-1].clone()}

    for place, change in enumerate((without, narrower)):
        folder = altered(tiny_folder(family), tmp_path / str(place), change)
        with pytest.raises(ValueError, match=r"must hold every weight.*got 1 that.*layers\.1\.mlp\.up_proj"):
            load_model(adapter.model_class, str(folder))


def test_weights_without_a_place_are_named_but_a_head_is_not(tiny_folder, tmp_path, caplog) -> None:
    adapter = backbone_for("qwen3_vl")
    load_model(adapter.model_class, str(tiny_folder("qwen3_vl")))
    assert caplog.text == ""
    more = altered(
        tiny_folder("qwen3_vl"), tmp_path / "more", lambda t: {**t, "custom_proj.weight": torch.ones(2)}
    )
    load_model(adapter.model_class, str(more))
    assert "1 weights have no place in the model, as custom_proj.weight" in caplog.text


# --- true configurations -----------------------------------------------------------------------------


HUB_NAMES = {
    # how the published checkpoints name their tensors: new name in transformers 5 -> theirs
    "qwen2_5_vl": [("model.visual.", "visual."), ("model.language_model.", "model.")],
    "qwen3_vl": [],
    "qwen3_5": [],
    "internvl": [
        ("model.language_model.", "language_model.model."),
        ("model.vision_tower.", "vision_tower."),
        ("model.multi_modal_projector.", "multi_modal_projector."),
        ("lm_head.", "language_model.lm_head."),
    ],
}


@pytest.mark.parametrize("family", MULTIMODAL)
def test_checkpoints_with_the_names_of_the_hub_load(tiny_folder, backbones, tmp_path, family) -> None:
    def rename(tensors):
        renamed = {}
        for name, value in tensors.items():
            for new, old in HUB_NAMES[family]:
                if name.startswith(new):
                    name = old + name.removeprefix(new)
                    break
            renamed[name] = value
        return renamed

    folder = altered(tiny_folder(family), tmp_path / "hub", rename)
    loaded = load_model(backbone_for(family).model_class, str(folder), dtype=torch.float32)
    expected = backbones[family].model.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items())


# Sizes and key names as the published config.json and preprocessor_config.json have them (2026-11): those of
# Qwen2.5-VL lie flat beside the vision_config, the others' under text_config.
PUBLISHED = {
    "qwen2_5_vl": {
        "config": {
            "model_type": "qwen2_5_vl",
            "hidden_size": 3584,
            "intermediate_size": 18944,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "vocab_size": 152064,
            "max_window_layers": 28,
            "sliding_window": 32768,
            "use_sliding_window": False,
            "rope_theta": 1000000.0,
            "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
            "image_token_id": 151655,
            "vision_config": {
                "depth": 32,
                "hidden_size": 1280,
                "intermediate_size": 3420,
                "num_heads": 16,
                "in_chans": 3,
                "out_hidden_size": 3584,
                "patch_size": 14,
                "spatial_merge_size": 2,
                "spatial_patch_size": 14,
                "window_size": 112,
                "fullatt_block_indexes": [7, 15, 23, 31],
                "temporal_patch_size": 2,
            },
        },
        "processor": {"min_pixels": 3136, "max_pixels": 12845056, "patch_size": 14, "merge_size": 2},
        "expected": (3584, 151655),
    },
    "qwen3_vl": {
        "config": {
            "model_type": "qwen3_vl",
            "image_token_id": 151655,
            "tie_word_embeddings": True,
            "text_config": {
                "model_type": "qwen3_vl_text",
                "hidden_size": 2560,
                "intermediate_size": 9728,
                "num_hidden_layers": 36,
                "num_attention_heads": 32,
                "num_key_value_heads": 8,
                "head_dim": 128,
                "vocab_size": 151936,
                "rope_theta": 5000000,
                "rope_scaling": {
                    "mrope_interleaved": True,
                    "mrope_section": [24, 20, 20],
                    "rope_type": "default",
                },
            },
            "vision_config": {
                "model_type": "qwen3_vl",
                "depth": 24,
                "hidden_size": 1024,
                "intermediate_size": 4096,
                "num_heads": 16,
                "patch_size": 16,
                "spatial_merge_size": 2,
                "temporal_patch_size": 2,
                "num_position_embeddings": 2304,
                "out_hidden_size": 2560,
                "deepstack_visual_indexes": [5, 11, 17],
            },
        },
        "processor": {
            "size": {"shortest_edge": 65536, "longest_edge": 16777216},
            "patch_size": 16,
            "merge_size": 2,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
        },
        "expected": (2560, 151655),
    },
    "qwen3_5": {
        "config": {
            "model_type": "qwen3_5",
            "image_token_id": 248056,
            "tie_word_embeddings": True,
            "text_config": {
                "model_type": "qwen3_5_text",
                "hidden_size": 2560,
                "intermediate_size": 9216,
                "num_hidden_layers": 32,
                "num_attention_heads": 16,
                "num_key_value_heads": 4,
                "head_dim": 256,
                "vocab_size": 248320,
                "full_attention_interval": 4,
                "attn_output_gate": True,
                "linear_conv_kernel_dim": 4,
                "linear_key_head_dim": 128,
                "linear_num_key_heads": 16,
                "linear_num_value_heads": 32,
                "linear_value_head_dim": 128,
                "rope_parameters": {
                    "mrope_interleaved": True,
                    "mrope_section": [11, 11, 10],
                    "partial_rotary_factor": 0.25,
                    "rope_theta": 10000000,
                    "rope_type": "default",
                },
            },
            "vision_config": {
                "model_type": "qwen3_5_vision",
                "deepstack_visual_indexes": [],
                "depth": 24,
                "hidden_size": 1024,
                "intermediate_size": 4096,
                "num_heads": 16,
                "num_position_embeddings": 2304,
                "out_hidden_size": 2560,
                "patch_size": 16,
                "spatial_merge_size": 2,
                "temporal_patch_size": 2,
            },
        },
        "processor": {
            "size": {"shortest_edge": 65536, "longest_edge": 16777216},
            "patch_size": 16,
            "merge_size": 2,
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
        },
        "expected": (2560, 248056),
    },
    "internvl": {
        "config": {
            "model_type": "internvl",
            "image_token_id": 151667,
            "image_seq_length": 256,
            "downsample_ratio": 0.5,
            "vision_feature_layer": -1,
            "vision_feature_select_strategy": "default",
            "text_config": {
                "model_type": "qwen2",
                "hidden_size": 1536,
                "intermediate_size": 8960,
                "num_hidden_layers": 28,
                "num_attention_heads": 12,
                "num_key_value_heads": 2,
                "vocab_size": 151674,
                "rope_theta": 1000000.0,
            },
            "vision_config": {
                "model_type": "internvl_vision",
                "hidden_size": 1024,
                "intermediate_size": 4096,
                "num_hidden_layers": 24,
                "num_attention_heads": 16,
                "attention_bias": True,
                "image_size": [448, 448],
                "patch_size": [14, 14],
            },
        },
        "processor": {
            "size": {"height": 448, "width": 448},
            "crop_to_patches": False,
            "min_patches": 1,
            "max_patches": 12,
            "image_mean": [0.485, 0.456, 0.406],
            "image_std": [0.229, 0.224, 0.225],
        },
        "expected": (1536, 151667),
    },
}


@pytest.fixture(scope="module", params=PUBLISHED)
def published(request):
    """An adapter around a model of true size without memory for weights, and the true image processor."""
    from transformers import CONFIG_MAPPING

    known, adapter = PUBLISHED[request.param], backbone_for(request.param)
    config = CONFIG_MAPPING[request.param].from_dict(known["config"])
    with torch.device("meta"):
        model = adapter.model_class(config)
    processor = adapter.image_processor_class.from_dict(known["processor"])
    return adapter(model, None, processor), known["expected"]


def test_published_configurations_are_read(published) -> None:
    backbone, (hidden, image_token) = published
    assert (backbone.hidden_size, backbone.image_token_id, backbone.merge) == (hidden, image_token, 2)
    width = backbone.model.get_input_embeddings().weight.shape[1]
    assert width == hidden


@pytest.mark.parametrize(("factor", "budget"), [(1, 1280), (2, 320), (3, 142), (4, 80)])
def test_a_page_of_a_published_model_keeps_its_budget_at_any_factor(published, factor, budget) -> None:
    """One page at one input resolution: 1280 tokens uncompressed, a fourth at s = 2, as in the paper."""
    backbone, compression = published[0], Compression(factor)
    page = Image.new("RGB", (1700, 2200), "white")  # letter at 200 dpi
    image = backbone.preprocess(page, budget, compression)
    tokens = backbone.token_count(image, compression)
    assert 0.75 * budget <= tokens <= budget
    if backbone.model_type == "internvl":
        assert tokens == 5 * {1: 256, 2: 64, 3: 25, 4: 16}[factor]
    else:
        assert image.pixels.shape == (
            math.prod(image.grids[0]),
            3 * 2 * backbone.image_processor.patch_size**2,
        )


@pytest.mark.parametrize("published", ["internvl"], indirect=True)
def test_tiles_follow_the_shape_so_a_page_of_a4_has_fewer_than_one_of_letter(published) -> None:
    """InternVL's rule: 210 : 297 is nearer to 1 : 2 than to 1 : 1; 8.5 : 11 is not."""
    backbone = published[0]
    a4, letter = (Image.new("RGB", size) for size in ((1654, 2339), (1700, 2200)))
    assert [len(backbone.preprocess(page, 320, Compression(2)).grids) for page in (a4, letter)] == [3, 5]


def test_the_papers_page_of_896_pixels_has_320_tokens(published) -> None:
    backbone = published[0]
    image = backbone.preprocess(Image.new("RGB", (896, 896)), 320, Compression(2))
    expected = {"internvl": 320, "qwen2_5_vl": 256, "qwen3_vl": 196, "qwen3_5": 196}[backbone.model_type]
    assert backbone.token_count(image, Compression(2)) == expected
