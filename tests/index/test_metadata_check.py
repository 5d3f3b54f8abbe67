"""What metadata may hold is the same, whether all of it is checked at once or value by value."""

from __future__ import annotations

import random

import pytest

from mmrag.index import records

ODD_VALUES = [
    None, [], [1], {}, b"x", (), (1, None), ("a", ("b",)), float("nan"), float("inf"), -float("inf"), 2**53,
    -(2**53), 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 1e300, "\ud800", "é", "a\0b", True, ("é", 2, False),
]  # fmt: skip
ODD_KEYS = [None, 1, "", "$and", "a$", "\ud800", "é", ("a",), True]


def error_of(metadata, monkeypatch, *, at_once):
    """Return what the check says, or None; by the shorter way only where it is open."""
    with monkeypatch.context() as patch:
        if not at_once:
            patch.setattr(records, "_is_plain", lambda metadata: False)
        try:
            records.check_metadata(metadata, "r")
        except ValueError as error:
            return str(error)
    return None


def test_plain_metadata_is_seen_at_once_and_a_fault_is_named():
    assert records._is_plain({"file_name": "a.pdf", "page": 3, "tags": ("x", "y"), "share": 0.5, "new": True})
    with pytest.raises(ValueError, match="metadata 'share' of record 'r' must be a finite number, got nan"):
        records.check_metadata({"page": 3, "share": float("nan")}, "r")


@pytest.mark.parametrize("seed", range(4))
def test_both_ways_say_the_same_of_random_metadata(seed, monkeypatch):
    rng = random.Random(seed)
    plain = ["a", "page 3", 0, -7, 2.5, False, ("a", "b"), (1, 2.0)]
    for _ in range(300):
        metadata = {f"key {number}": rng.choice(plain) for number in range(rng.randrange(5))}
        if rng.random() < 0.7:
            metadata[rng.choice([*ODD_KEYS, "odd", "odd"])] = rng.choice([*ODD_VALUES, "plain"])
        assert error_of(metadata, monkeypatch, at_once=True) == error_of(
            metadata, monkeypatch, at_once=False
        ), metadata
