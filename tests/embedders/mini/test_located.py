"""Laws of located meta tokens: which part of an input each row sees."""

from itertools import pairwise

import numpy as np
import pytest

from mmrag.embedders.mini.located import LEVELS, MASK_LOGIT, mask_of, parts_of, views, windows_of

LENGTHS = [1, 2, 31, 32, 33, 64, 95, 96, 97, 128, 254, 255, 300, 454, 455, 1000, 1536, 5000, 40_000]


def spans(parts, level):
    return sorted((part.start, part.end) for part in parts if part.level == level)


def test_a_page_of_384_tokens_by_eye():
    parts = parts_of(384, most=64)
    assert [(p.level, p.start, p.end) for p in parts[:4]] == [
        (0, 0, 384),
        (1, 0, 128),
        (1, 256, 384),
        (1, 128, 256),
    ]
    assert spans(parts, 2) == [(0, 96), (96, 192), (192, 288), (288, 384)]
    assert spans(parts, 3)[:2] == [(0, 48), (48, 96)]
    assert spans(parts, 4)[:2] == [(0, 32), (32, 64)]
    assert len(parts) == 1 + 3 + 4 + 8 + 12


@pytest.mark.parametrize("length", LENGTHS)
def test_every_level_covers_the_input_once(length):
    parts = parts_of(length, most=64)
    for level in {part.level for part in parts}:
        found = spans(parts, level)
        assert found[0][0] == 0
        assert found[-1][1] == length
        assert all(before[1] == after[0] for before, after in pairwise(found))
        assert all(start < end for start, end in found)


@pytest.mark.parametrize("length", LENGTHS)
def test_rows_are_at_most_the_budget_and_a_smaller_budget_is_a_prefix(length):
    whole = parts_of(length, most=64)
    assert 1 <= len(whole) <= 64
    for most in (1, 4, 5, 16, 40, 64):
        assert parts_of(length, most=most) == whole[:most]


def test_a_long_input_has_all_rows_and_the_budgets_are_the_ends_of_levels():
    parts = parts_of(5_000, most=64)
    assert [sum(part.level <= level for part in parts) for level in range(5)] == [1, 4, 8, 16, 64]
    assert sum(LEVELS) == 64


def test_levels_without_new_parts_are_left_out():
    assert [part.level for part in parts_of(32, most=64)] == [0]
    assert [part.level for part in parts_of(64, most=64)] == [0, 1, 1]
    for length in LENGTHS:
        counts = [len(spans(parts_of(length, most=64), level)) for level in range(5)]
        present = [count for count in counts if count]
        assert present == sorted(set(present))


@pytest.mark.parametrize("length", LENGTHS)
def test_windows_cover_everything_and_their_inner_stretches_meet(length):
    windows = windows_of(length)
    assert windows[0].first == 0
    assert windows[-1].last == length
    assert all(before.last == after.first for before, after in pairwise(windows))
    assert all(w.start <= w.first < w.last <= w.end <= w.start + 254 for w in windows)


@pytest.mark.parametrize("length", LENGTHS)
def test_each_row_sees_its_part_and_each_token_of_it_once(length):
    parts = parts_of(length, most=64)
    seen = [[] for _ in parts]
    for window, found in views(parts, windows_of(length)):
        for view in found:
            assert window.start <= view.start < view.end <= window.end
            seen[view.row].append((view.start, view.end))
    for part, stretches in zip(parts, seen, strict=True):
        stretches.sort()
        assert stretches[0][0] == part.start
        assert stretches[-1][1] == part.end
        assert all(before[1] == after[0] for before, after in pairwise(stretches))


def test_a_part_across_two_windows_is_seen_whole_where_there_is_room():
    parts = parts_of(454, most=64)
    stretches = [
        view for _, found in views(parts, windows_of(454)) for view in found if parts[view.row].level == 4
    ]
    assert len(stretches) == sum(part.level == 4 for part in parts)


def test_content_never_sees_a_row_and_rows_see_themselves_and_their_span():
    mask = mask_of(5, [None, (1, 3)])
    assert mask.shape == (7, 7)
    assert (mask[:5, :5] == 0).all()
    assert (mask[:5, 5:] == MASK_LOGIT).all()
    np.testing.assert_array_equal(mask[5], [0, 0, 0, 0, 0, 0, MASK_LOGIT])
    np.testing.assert_array_equal(mask[6], [MASK_LOGIT, 0, 0, MASK_LOGIT, MASK_LOGIT, MASK_LOGIT, 0])
