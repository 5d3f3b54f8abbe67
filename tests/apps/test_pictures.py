"""Laws of the pictures that a server keeps: those asked for last, within a number of bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

from PIL import Image

from mmrag.apps.pictures import PictureCache
from mmrag.types import Page, Source


@dataclass
class Drawing:
    """What draws pages, and counts them."""

    drawn: list[int] = field(default_factory=list)

    def render(self, page: Page, max_pixels: int) -> Image.Image:
        self.drawn.append(page.number)
        return Image.effect_noise((40, 40), 90.0).convert("RGB")  # a PNG of it has as many bytes each time


def page(number: int) -> Page:
    source = Source("ab" * 32, "pdf", "a.pdf")
    return Page(source.page_id(number), source.document_id, number, "1", "", (), (600.0, 600.0), source)


def test_only_the_pictures_asked_for_last_are_kept() -> None:
    qa = Drawing()
    size = len(PictureCache().page(qa, page(0), 40))  # type: ignore[arg-type]
    cache = PictureCache(most_bytes=3 * size + size // 2)
    qa.drawn.clear()
    for number in (0, 1, 2, 0, 3, 0, 2):  # 1 was asked for longest ago when 3 comes
        cache.page(qa, page(number), 40)  # type: ignore[arg-type]
    assert qa.drawn == [0, 1, 2, 3]
    assert cache._bytes == sum(map(len, cache._pictures.values())) <= 3 * size + size // 2
    cache.page(qa, page(1), 40)  # type: ignore[arg-type]
    assert qa.drawn == [0, 1, 2, 3, 1]


def test_a_picture_larger_than_all_that_is_kept_is_given_and_not_kept() -> None:
    qa = Drawing()
    cache = PictureCache(most_bytes=10)
    assert cache.page(qa, page(0), 40)[:4] == b"\x89PNG"  # type: ignore[arg-type]
    assert not cache._pictures and cache._bytes == 0
