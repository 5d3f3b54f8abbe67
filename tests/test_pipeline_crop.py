"""Laws of `DocumentQA.crop`: the picture of a citation is the cited block, all of it, and little else."""

from __future__ import annotations

import random

import numpy as np
import pymupdf
import pytest

from mmrag import DocumentQA, ReaderSettings
from mmrag.errors import SourceChangedError
from mmrag.types import Citation

SIZE = (600.0, 800.0)
AREA = (0.25, 0.5, 0.75, 0.625)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("crop")


@pytest.fixture(scope="module")
def qa(embedder, folder):
    """An index of a page with a red rectangle at `AREA`."""
    document = pymupdf.open()
    page = document.new_page(width=SIZE[0], height=SIZE[1])
    page.insert_text((72, 90), "The red field is below.", fontsize=11)
    rectangle = pymupdf.Rect(*(edge * side for edge, side in zip(AREA, SIZE * 2, strict=True)))
    page.draw_rect(rectangle, color=None, fill=(1, 0, 0))
    document.save(folder / "field.pdf")
    reader = ReaderSettings(ocr="off", workers=1)
    with DocumentQA.open(folder / "index", embedder=embedder, reader=reader) as qa:
        qa.add(folder / "field.pdf")
        yield qa


def cited(qa, **where) -> Citation:
    (candidate,) = qa.search("red field", k=1)
    return Citation(1, candidate.id, "red field", page=candidate.page, **where)


def red(image):
    """Share of the picture that is red."""
    pixels = np.asarray(image.convert("RGB")).astype(int)
    return float(((pixels[..., 0] > 200) & (pixels[..., 1] < 60)).mean())


def test_the_area_is_cut_out_whole_with_a_small_margin(qa):
    page = qa.render(cited(qa).page, max_pixels=400_000)
    crop = qa.crop(cited(qa, area=AREA, boxes=((0.0, 0.0, 0.1, 0.1),)), max_pixels=400_000)
    assert red(crop) * crop.width * crop.height == pytest.approx(
        red(page) * page.width * page.height, rel=0.02
    )
    assert 0.85 < red(crop) < 1


def test_without_an_area_the_boxes_are_cut_out_and_without_both_the_page(qa):
    left, right = (0.25, 0.5, 0.3, 0.55), (0.7, 0.6, 0.75, 0.625)
    by_boxes = qa.crop(cited(qa, boxes=(left, right)), max_pixels=400_000)
    by_area = qa.crop(cited(qa, area=AREA), max_pixels=400_000)
    assert by_boxes.size == by_area.size and red(by_boxes) == pytest.approx(red(by_area))
    page = qa.render(cited(qa).page, max_pixels=400_000)
    assert qa.crop(cited(qa), max_pixels=400_000).size == page.size


@pytest.mark.parametrize("seed", range(3))
def test_any_area_gives_a_picture_inside_the_page(qa, seed):
    noise = random.Random(seed)
    page = qa.render(cited(qa).page, max_pixels=40_000)
    areas = [tuple(noise.uniform(-1, 2) for _ in range(4)) for _ in range(8)]
    for area in [*areas, (0, 0, 0, 0), (1, 1, 1, 1), (2, 2, 3, 3), (0, 0, 1, 1), (0.9, 0.9, 0.1, 0.1)]:
        crop = qa.crop(cited(qa, area=area), max_pixels=40_000)
        assert 0 < crop.width <= page.width and 0 < crop.height <= page.height


def test_an_answers_own_citation_can_be_cut_out(qa):
    answer = qa.ask("Where is the red field?", k=1)
    for citation in answer.citations:
        assert citation.area is not None and qa.crop(citation).height < qa.render(citation.page).height / 4


def test_a_citation_of_a_text_or_of_a_file_that_is_gone_is_refused(qa, folder):
    with pytest.raises(ValueError, match="must have a page"):
        qa.crop(Citation(1, "note", "words"))
    citation = cited(qa, area=AREA)
    (folder / "field.pdf").rename(folder / "away.pdf")
    with pytest.raises(SourceChangedError):
        qa.crop(citation)
    (folder / "away.pdf").rename(folder / "field.pdf")
