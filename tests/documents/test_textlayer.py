"""When a text layer counts as none."""

from __future__ import annotations

import pytest

from mmrag.documents.ocr.layer_quality import garbage_reason, is_sparse

PROSE = "Net sales in Europe fell by four percent to 24.1 billion dollars in 2024. " * 3


@pytest.mark.parametrize(
    "text", [PROSE, "7", "Contents\n" + "1 Overview " + "." * 300 + " 12", "総売上高は前年比", "+ - ="]
)
def test_usable_text(text):
    assert garbage_reason(text) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no text layer"),
        (" \n\t ", "no text layer"),
        ("\N{REPLACEMENT CHARACTER}" * 40, "no Unicode map"),
        ("\ue001\ue002\ue003\ue004 ab", "no Unicode map"),
        ("\x01\x02\x03 \x04\x05", "no Unicode map"),
        ("a" * 50, "one glyph repeated"),
        ("x" * 70 + "abcdefghijklmnopqrstuvwyz", "one glyph repeated"),
        ("□" * 30, "no letters"),
    ],
)
def test_garbage_counts_as_none(text, reason):
    assert reason in garbage_reason(text)


def test_a_third_is_the_border():
    assert garbage_reason("ab\ufffd") is not None
    assert garbage_reason("abc\ufffd") is None


def test_sparse_is_fewer_than_a_hundred_letters():
    assert is_sparse("a" * 99 + "." * 500)
    assert not is_sparse("a" * 100)
