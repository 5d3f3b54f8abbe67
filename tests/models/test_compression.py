"""Laws of the resize: sizes, values, order of blocks."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmrag.models.compression import Compression, compress_blocks, from_blocks, to_blocks

FACTORS = [1, 2, 3, 4]
SHAPES = [(4, 6), (18, 24), (5, 7), (32, 32), (2, 60), (13, 4)]


def bilinear(grid: np.ndarray, size: tuple[int, int], align_corners: bool) -> np.ndarray:
    """The textbook: each output looks at one place of the input and mixes the four around it."""
    height, width, channels = grid.shape
    out = np.zeros((*size, channels))
    for row, column in itertools.product(range(size[0]), range(size[1])):
        places = []
        for place, new, old in ((row, size[0], height), (column, size[1], width)):
            if align_corners:
                source = place * (old - 1) / (new - 1) if new > 1 else 0.0
            else:
                source = max((place + 0.5) * old / new - 0.5, 0.0)
            low = min(int(source), old - 1)
            places.append((low, min(low + 1, old - 1), source - low))
        (top, bottom, down), (left, right, along) = places
        upper = grid[top, left] * (1 - along) + grid[top, right] * along
        lower = grid[bottom, left] * (1 - along) + grid[bottom, right] * along
        out[row, column] = upper * (1 - down) + lower * down
    return out


def features(height: int, width: int, channels: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randn(1, height, width, channels, generator=torch.Generator().manual_seed(seed))


def test_half_scale_is_the_mean_of_each_two_by_two() -> None:
    grid = torch.tensor([[1.0, 3.0, 0.0, 8.0], [5.0, 7.0, 4.0, 0.0]])[None, ..., None]
    assert Compression(2).resize(grid, (1, 2))[0, ..., 0].tolist() == [[4.0, 3.0]]


@pytest.mark.parametrize("shape", [(8, 12), (2, 2), (32, 6)])
def test_half_scale_is_the_mean_on_any_even_grid(shape: tuple[int, int]) -> None:
    grid = features(*shape)
    height, width = shape
    means = grid.reshape(1, height // 2, 2, width // 2, 2, 3).mean((2, 4))
    torch.testing.assert_close(Compression(2).resize(grid, (height // 2, width // 2)), means)


def test_at_a_third_the_middle_is_taken_and_at_a_fourth_the_mean_of_the_middle_four() -> None:
    grid = features(12, 24)
    third = Compression(3).resize(grid, (4, 8))
    torch.testing.assert_close(third, grid[:, 1::3, 1::3])
    fourth = Compression(4).resize(grid, (3, 6))
    middle = grid.reshape(1, 3, 4, 6, 4, 3)[:, :, 1:3, :, 1:3].mean((2, 4))
    torch.testing.assert_close(fourth, middle)
    for factor in (3, 4):  # each feature is looked at where the filter is widened
        one = torch.ones(1, 12, 24, 1, requires_grad=True)
        Compression(factor, antialias=True).resize(one, (12 // factor, 24 // factor)).sum().backward()
        assert one.grad.min() > 0


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_resize_equals_the_textbook(shape: tuple[int, int], factor: int, align_corners: bool) -> None:
    compression = Compression(factor, align_corners=align_corners)
    grid, size = features(*shape), compression.grid(shape, 1)
    expected = bilinear(grid[0].numpy(), size, align_corners)
    # torch places the samples in float32: a place near 30 is off by up to 2e-6, times a step of about 3
    np.testing.assert_allclose(compression.resize(grid, size)[0].numpy(), expected, atol=2e-5)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_antialias_equals_pillow(shape: tuple[int, int], factor: int) -> None:
    """Pillow's bilinear filter widens with the scale; its 'F' mode computes in float32."""
    compression = Compression(factor, antialias=True)
    grid, size = features(*shape), compression.grid(shape, 1)
    pictures = [Image.fromarray(channel.numpy()) for channel in grid[0].permute(2, 0, 1).contiguous()]
    resized = [np.asarray(p.resize((size[1], size[0]), Image.Resampling.BILINEAR)) for p in pictures]
    np.testing.assert_allclose(compression.resize(grid, size)[0].numpy(), np.stack(resized, -1), atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"align_corners": True}, {"antialias": True}])
def test_a_constant_grid_stays_constant(options: dict[str, bool]) -> None:
    grid = torch.full((1, 9, 14, 4), 2.5)
    out = Compression(3, **options).resize(grid, (3, 5))
    torch.testing.assert_close(out, torch.full((1, 3, 5, 4), 2.5))


def test_align_corners_keeps_the_corners() -> None:
    grid = features(9, 12)
    out = Compression(3, align_corners=True).resize(grid, (3, 4))
    torch.testing.assert_close(
        out[:, [0, 0, -1, -1], [0, -1, 0, -1]], grid[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    )


def test_factor_one_gives_back_the_very_tensor() -> None:
    grid = features(4, 4)
    assert Compression(1).resize(grid, (4, 4)) is grid
    assert compress_blocks(grid, [(4, 4)], Compression(1), 2) is grid


@pytest.mark.parametrize("options", [{}, {"align_corners": True}, {"antialias": True}])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32_and_rounded_once(dtype, options) -> None:
    """torch has no antialias for it on a CPU, and rounds the weights of its plain resize."""
    grid, compression = features(12, 13).to(dtype), Compression(3, **options)
    out = compression.resize(grid, (4, 5))
    assert out.dtype == dtype
    assert torch.equal(out, compression.resize(grid.float(), (4, 5)).to(dtype))


def test_double_precision_stays_double() -> None:
    grid = features(12, 13).double()
    out = Compression(3).resize(grid, (4, 5))
    assert out.dtype == torch.float64
    np.testing.assert_allclose(out[0].numpy(), bilinear(grid[0].numpy(), (4, 5), False), atol=1e-14)


def test_sides_become_the_nearest_multiple_and_ties_the_larger_one() -> None:
    # 18 / 2 = 9 lies between 8 and 10; 24 / 2 = 12; 4 / 3 = 1.33 -> 2; 20 / 3 = 6.67 -> 6; 12 / 4 = 3 -> 4
    assert Compression(2).grid((18, 24), 2) == (10, 12)
    assert Compression(3).grid((4, 20), 2) == (2, 6)
    assert Compression(4).grid((12, 8), 2) == (4, 2)
    assert Compression(2).grid((32, 32), 2) == (16, 16)  # InternVL3: 256 tokens a tile become 64


@given(st.integers(1, 400), st.integers(1, 400), st.sampled_from(FACTORS), st.sampled_from([1, 2, 3]))
def test_no_multiple_is_nearer(rows: int, columns: int, factor: int, merge: int) -> None:
    least = -(-factor // 2)
    grid = (merge * max(rows, least), merge * max(columns, least))
    for side, new in zip(grid, Compression(factor).grid(grid, merge), strict=True):
        assert new >= merge
        assert new % merge == 0
        assert abs(new - side / factor) <= merge / 2


@given(st.integers(2, 400), st.integers(2, 400), st.sampled_from(FACTORS))
def test_tokens_fall_by_the_square_of_the_factor(rows: int, columns: int, factor: int) -> None:
    new_rows, new_columns = (side // 2 for side in Compression(factor).grid((2 * rows, 2 * columns), 2))
    low = (rows / factor - 0.5) * (columns / factor - 0.5)
    high = (rows / factor + 0.5) * (columns / factor + 0.5)
    assert low <= new_rows * new_columns <= high
    if rows % factor == columns % factor == 0:
        assert new_rows * new_columns * factor**2 == rows * columns


@pytest.mark.parametrize(("factor", "least"), [(2, 2), (3, 3), (4, 4)])
def test_only_a_grid_that_would_vanish_is_refused(factor: int, least: int) -> None:
    compression = Compression(factor)
    assert compression.grid((least, least), 2) == (2, 2)
    with pytest.raises(ValueError, match=rf"1 x 40 patches vanishes.*at least {least} patches.*larger image"):
        compression.grid((1, 40), 2)


def test_blocks_are_the_patches_that_the_merger_joins() -> None:
    # a 2 x 4 grid of patches 0..7 row by row; two blocks of 2 x 2, each row by row
    blocks = torch.tensor([0, 1, 4, 5, 2, 3, 6, 7]).float()[:, None]
    assert from_blocks(blocks, (2, 4), 2)[..., 0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 3))
def test_blocks_and_back(rows: int, columns: int, merge: int) -> None:
    grid = (rows * merge, columns * merge)
    states = features(*grid)[0].reshape(-1, 3)
    assert torch.equal(to_blocks(from_blocks(states, grid, merge), merge), states)


def test_each_image_of_a_batch_is_resized_alone() -> None:
    grids = [(4, 8), (6, 4), (12, 2)]
    parts = [features(*grid, seed=place)[0].reshape(-1, 3) for place, grid in enumerate(grids)]
    compression = Compression(2)
    together = compress_blocks(torch.cat(parts), grids, compression, 2)
    alone = [compress_blocks(part, [grid], compression, 2) for part, grid in zip(parts, grids, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone))


@pytest.mark.parametrize("factor", [0, 5, -2, 1.5, True])
def test_a_factor_that_is_none_is_refused(factor: object) -> None:
    with pytest.raises(ValueError, match=r"compression must be one of \(1, 2, 3, 4\).*got"):
        Compression(factor)


def test_align_corners_and_antialias_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="must not both be set"):
        Compression(2, align_corners=True, antialias=True)
