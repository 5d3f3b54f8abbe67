"""The benchmark of the served embedder, as far as it needs no server: what a page weighs on the wire."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="needs the extra 'mllm'")

from served_rows import page, print_table, wire_bytes


def test_int8_is_half_and_json_numbers_are_many_times_as_much() -> None:
    sizes = wire_bytes()
    assert 0.4 < sizes["int8"] / sizes["float16"] < 0.6
    assert sizes["JSON numbers"] > 7 * sizes["float16"]


def test_a_page_has_about_the_area_asked_for() -> None:
    for pixels in (50_000, 1_300_000):
        image = page(0, pixels)
        assert 0.95 < image.width * image.height / pixels < 1.05


def test_the_table_names_both_compressions_and_their_ratio(capsys) -> None:
    row = {"visual_tokens": 80, "ratio": 1.0, "least_cosine": 1.0, "local": 2.0}
    rows = [{**row, "compression": 2, "served": 4.0}, {**row, "compression": 1, "served": 2.0, "local": 1.0}]
    print_table({"rows": rows, "bytes": {"int8": 11_000}})
    output = capsys.readouterr().out
    assert "served: 2.00 x, local: 2.00 x" in output and "11,000 as int8" in output
