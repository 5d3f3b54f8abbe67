"""Examples from JSONL, and the order in which they are seen.

One format for everything: what ``mmrag mine`` and ``mmrag train make-pairs`` write
(`mmrag.training.mining.records`).
An example is a query with one of its positives; its negatives are hard ones mined for the query, and what
was removed from them is remembered, so that it does not come back as an in-batch negative.

Batches are drawn from several sub-datasets: a batch is made of runs of ``homogeneous`` queries from one of
them, because a negative from another kind of data is no negative to learn from. Everything is drawn from
the seed and the number of the batch, so a resumed run sees what it would have seen.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrag.training.config import DataConfig
from mmrag.training.mining.records import read_mined

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmrag.documents import DocumentReader


@dataclass(frozen=True, slots=True)
class Side:
    """A query or a document, still on disk.

    Attributes:
        key: of its content, equal for equal content.
        text: its words.
        image: a picture file; None where there is none.
        file: a PDF (or another document) that the picture is a page of.
        page: 0-based page of `file`.
    """

    key: str
    text: str = ""
    image: str | None = None
    file: str | None = None
    page: int | None = None

    @property
    def has_picture(self) -> bool:
        """Whether it has something to look at."""
        return self.image is not None or self.file is not None


@dataclass(frozen=True, slots=True)
class Example:
    """A query, a document that answers it, and documents that do not.

    Attributes:
        name: of the query, for messages.
        query, positive, negatives: the sides; negatives hardest first.
        judged: the judge's score of the positive and of each negative; None where there is none.
        relevant: keys of everything known to answer the query, the positive among it.
    """

    name: str
    query: Side
    positive: Side
    negatives: tuple[Side, ...] = ()
    judged: tuple[float | None, ...] = ()
    relevant: frozenset[str] = frozenset()


def read_examples(path: str | Path, *, cap: int | None = None, documents: str = "picture") -> list[Example]:
    """The examples of a file; queries without a positive, and those marked as skipped, give none.

    Args:
        path: JSONL.
        cap: most examples.
        documents: see `mmrag.training.config.DataConfig`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is not as it must be; the message names it. A positive that is also a negative,
            a query or a positive with nothing in it, no example at all.
    """
    examples: list[Example] = []
    for number, line in enumerate(read_mined(path), 1):
        if not line.get("skipped"):
            examples.extend(_examples(line, f"{path}, example {number} ({line['query']['id']!r})"))
        if cap is not None and len(examples) >= cap:
            break
    if not examples:
        raise ValueError(f"{path} must hold at least one query with a positive, got none.")
    if documents == "text":
        return [_in_words(example, str(path)) for example in examples[:cap]]
    return examples[:cap]


def _in_words(example: Example, path: str) -> Example:
    """The example with its documents' words in place of their pictures; they are the same documents.

    Raises:
        ValueError: a document has no words.
    """

    def words(side: Side) -> Side:
        if not side.text.strip():
            raise ValueError(
                f"{path}: with documents: text every document must have text, got one of {example.name!r} "
                "without. Leave the line out, or make the pairs with OCR."
            )
        return replace(side, image=None, file=None, page=None)

    return replace(example, positive=words(example.positive), negatives=tuple(map(words, example.negatives)))


def _examples(line: Mapping[str, Any], where: str) -> Iterator[Example]:
    query = _side(line["query"], f"{where}: query")
    positives = [_side(item, f"{where}: positive") for item in line["positives"]]
    negatives = [_side(item, f"{where}: negative") for item in line["negatives"]]
    removed = [_side(item, f"{where}: removed") for item in line["removed"]]
    relevant = frozenset(side.key for side in (*positives, *removed))
    for item, negative in zip(line["negatives"], negatives, strict=True):
        if negative.key in {side.key for side in positives}:
            raise ValueError(f"{where}: a positive must not be a negative, too, got {item['id']!r} as both.")
    scores = [item.get("score") for item in line["negatives"]]
    for item, positive in zip(line["positives"], positives, strict=True):
        if positive.key == query.key:
            raise ValueError(f"{where}: the positive must differ from the query, got {item['id']!r}.")
        yield Example(
            line["query"]["id"],
            query,
            positive,
            tuple(negatives),
            (item.get("score"), *scores),
            relevant,
        )


def _side(item: Mapping[str, Any], where: str) -> Side:
    text, image = item.get("text") or "", item.get("image")
    page = item.get("page")
    file = item.get("path") if page is not None else None
    if not text.strip() and image is None and file is None:
        raise ValueError(f"{where} must have text, an image or a file with a page, got none of them.")
    same = [text, image, item.get("sha256") or file, page]
    key = hashlib.sha256(repr(same).encode("utf-8", errors="surrogatepass")).hexdigest()[:24]
    return Side(key, text, image, file, page)


class Pictures:
    """Opens what sides look like: picture files, and pages rendered from their documents.

    Args:
        pixels: pages are rendered within this area.
    """

    def __init__(self, pixels: int) -> None:
        self.pixels = pixels
        self._reader: DocumentReader | None = None

    def of(self, side: Side) -> Image | None:
        """The picture of a side; None where it has none.

        Raises:
            DocumentError: the file is not there, cannot be read, or has no such page.
        """
        if side.image is not None:
            from mmrag.images import load_image

            return load_image(side.image)
        if side.file is None or side.page is None:
            return None
        return self._rendered(side.file, side.page)

    def _rendered(self, file: str, number: int) -> Image:
        from mmrag.documents import DocumentReader, ReaderSettings, Skipped, discover
        from mmrag.errors import PageError

        if self._reader is None:
            self._reader = DocumentReader(ReaderSettings(ocr="off"))  # its words are in the line
        found = next(iter(discover(file)))
        if isinstance(found, Skipped):
            raise PageError(f"{file}: {found.reason}", number)
        page = next(iter(self._reader.pages(found, numbers=[number], image_pixels=self.pixels)))
        if isinstance(page, Skipped) or page.image is None:
            raise PageError(f"{file}, page {number + 1}: {getattr(page, 'reason', 'not rendered')}", number)
        return page.image

    def close(self) -> None:
        """End the reading processes."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None


@dataclass(frozen=True, slots=True)
class SubDataset:
    """Examples of one kind, and how often they are drawn from."""

    name: str
    examples: tuple[Example, ...]
    weight: float = 1.0


def read_data(configs: Sequence[DataConfig]) -> list[SubDataset]:
    """All sub-datasets of a run.

    Raises:
        FileNotFoundError, ValueError: see `read_examples`.
    """
    return [
        SubDataset(
            config.name or Path(config.path).stem,
            tuple(read_examples(config.path, cap=config.cap, documents=config.documents)),
            config.weight,
        )
        for config in configs
    ]


class Mixture(Sequence[Example]):
    """All examples of all sub-datasets, one after another, and batches of their places.

    Args:
        parts: the sub-datasets.
        batch: queries a batch.
        homogeneous: queries that follow each other from one sub-dataset.
        seed: of the drawing.
    """

    def __init__(self, parts: Sequence[SubDataset], *, batch: int, homogeneous: int, seed: int) -> None:
        self.parts = list(parts)
        self.batch = batch
        self.run = min(homogeneous, batch)
        self.seed = seed
        self._all = [example for part in self.parts for example in part.examples]
        starts = [0]
        for part in self.parts:
            starts.append(starts[-1] + len(part.examples))
        self._starts = starts
        self._shares = [part.weight * len(part.examples) for part in self.parts]

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, place: Any) -> Any:  # noqa: ANN401  int or slice
        return self._all[place]

    def batches(self, count: int) -> Iterator[list[int]]:
        """`count` batches of places, the same for the same seed.

        Each sub-dataset is gone through in a drawn order, again and again, so that each of its examples is
        seen as often as any other; a run ends with its sub-dataset and goes on with the next order.
        """
        rng = random.Random(self.seed)
        orders = [self._order(part, rng) for part in range(len(self.parts))]
        for _ in range(count):
            places: list[int] = []
            while len(places) < self.batch:
                (part,) = rng.choices(range(len(self.parts)), weights=self._shares)
                most = min(self.run, self.batch - len(places))
                places += [next(orders[part]) for _ in range(most)]
            yield places

    def _order(self, part: int, rng: random.Random) -> Iterator[int]:
        own = random.Random(rng.getrandbits(64))
        places = list(range(self._starts[part], self._starts[part + 1]))
        while True:
            own.shuffle(places)
            yield from places
