"""Compression once more, as plainly as possible: loops for every order, positions counted by hand.

Stock encoder, stock connector and stock language model; nothing of ours but the pixels.
"""

from fractions import Fraction
from math import floor

import torch
from torch.nn.functional import interpolate


def shrunk(side, factor):
    """The multiple of 2 that is nearest to side / factor, the larger of two."""
    return side if factor == 1 else 2 * floor(Fraction(side, 2 * factor) + Fraction(1, 2))


def resized(grid, factor):
    """``(height, width, channels)`` at a factor-th of its size."""
    height, width, _ = grid.shape
    channels = grid.permute(2, 0, 1)[None].contiguous()
    size = (shrunk(height, factor), shrunk(width, factor))
    return interpolate(channels, size=size, mode="bilinear")[0].permute(1, 2, 0)


def block_order(height, width):
    """Patches in the order in which the Qwen encoders keep them: 2 x 2 by 2 x 2."""
    return [
        (2 * row + down, 2 * column + right)
        for row in range(height // 2)
        for column in range(width // 2)
        for down in range(2)
        for right in range(2)
    ]


def compressed(states, grids, factor):
    """States of several images in block order, each image resized."""
    parts, start = [], 0
    for height, width in grids:
        grid = torch.empty(height, width, states.shape[-1])
        for place, (row, column) in enumerate(block_order(height, width)):
            grid[row, column] = states[start + place]
        start += height * width
        small = resized(grid, factor)
        parts += [small[row, column] for row, column in block_order(*small.shape[:2])]
    return torch.stack(parts)


def out_of_windows(states, grids, window):
    """The states of Qwen2.5-VL, which come window by window, in block order."""
    blocks, start = states.reshape(-1, 4, states.shape[-1]), 0
    parts = []
    for height, width in grids:
        rows, columns = height // 2, width // 2
        came = [
            (row, column)
            for top in range(0, rows, window)
            for left in range(0, columns, window)
            for row in range(top, min(top + window, rows))
            for column in range(left, min(left + window, columns))
        ]
        place = {block: start + number for number, block in enumerate(came)}
        parts += [blocks[place[row, column]] for row in range(rows) for column in range(columns)]
        start += rows * columns
    return torch.cat(parts)


def visual_tokens(backbone, images, factor):
    """Visual tokens and DeepStack features of all images."""
    pixels = torch.cat([image.pixels for image in images])
    grids = [grid for image in images for grid in image.grids]
    if backbone.model_type == "internvl":
        tower = backbone.model.vision_tower
        tokens = []
        for tile in tower(pixels).last_hidden_state[:, 1:]:
            side = int(len(tile) ** 0.5)
            small = resized(tile.reshape(side, side, -1), factor)
            merged = backbone.model.pixel_shuffle(small[None].contiguous(), scale_factor=0.5)[0]
            tokens.append(backbone.model.multi_modal_projector(merged.flatten(0, 1)))
        return torch.cat(tokens), []
    visual = backbone.model.visual
    thw = torch.tensor([(1, *grid) for grid in grids])
    if backbone.model_type == "qwen2_5_vl":
        states = visual(pixels, grid_thw=thw).last_hidden_state
        window = visual.window_size // visual.patch_size // 2
        return visual.merger(compressed(out_of_windows(states, grids, window), grids, factor)), []
    if backbone.model_type == "qwen3_5":
        return visual.merger(compressed(visual(pixels, grid_thw=thw).last_hidden_state, grids, factor)), []
    out = visual(pixels, grid_thw=thw, output_hidden_states=True)
    deep = [
        merger(compressed(out.hidden_states[layer + 1], grids, factor))
        for layer, merger in zip(visual.deepstack_visual_indexes, visual.deepstack_merger_list, strict=True)
    ]
    return visual.merger(compressed(out.last_hidden_state, grids, factor)), deep


def positions(backbone, batch, factor):
    """``(3, batch, length)``: words count on, images lie on rows and columns."""
    grids = iter([(shrunk(h, factor) // 2, shrunk(w, factor) // 2) for i in batch.images for h, w in i.grids])
    out = torch.zeros(3, *batch.input_ids.shape, dtype=torch.long)
    for row, (ids, mask) in enumerate(
        zip(batch.input_ids.tolist(), batch.attention_mask.tolist(), strict=True)
    ):
        now, place = 0, 0
        while place < len(ids):
            if not mask[place]:
                place += 1
            elif ids[place] != backbone.image_token_id:
                out[:, row, place] = now
                now, place = now + 1, place + 1
            else:
                height, width = next(grids)
                for down in range(height):
                    for right in range(width):
                        out[:, row, place] = torch.tensor([now, now + down, now + right])
                        place += 1
                now += max(height, width)
    return out


def states(backbone, batch, factor):
    """Last states ``(batch, length, hidden)``."""
    embeds = backbone.model.get_input_embeddings()(batch.input_ids).clone()
    visual = batch.input_ids == backbone.image_token_id
    more = {}
    if batch.images:
        tokens, deep = visual_tokens(backbone, batch.images, factor)
        embeds[visual] = tokens
        if deep:
            more = {"visual_pos_masks": visual, "deepstack_visual_embeds": deep}
        if backbone.model_type != "internvl":
            more["position_ids"] = positions(backbone, batch, factor)
    out = backbone.model.language_model(inputs_embeds=embeds, attention_mask=batch.attention_mask, **more)
    return out.last_hidden_state
