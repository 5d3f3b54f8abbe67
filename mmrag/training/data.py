"""Training examples from JSONL, and the order in which a run draws them.

All stages of the retriever and the reranker read one format, which ``mmrag mine`` and ``mmrag train
make-pairs`` write (`mmrag.training.mining.records`). An example is a query with one of its positives and with
hard negatives mined for the query. What mining removed from the negatives is remembered by its key, so that
it does not come back as an in-batch negative.

Batches are drawn from several sub-datasets. A batch is made of runs of ``homogeneous`` queries from one of
them, because documents of another kind of data are negatives too easy to learn from. All draws come from
the seed, so a resumed run sees what it would have seen.
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
    """A query or a document; its picture is still on disk.

    Attributes:
        key: digest of its content.
        text: its words.
        image: a picture file, or None.
        file: a PDF or another document that it is a page of, or None.
        page: number of that page, from 0.
    """

    key: str
    text: str = ""
    image: str | None = None
    file: str | None = None
    page: int | None = None

    @property
    def has_picture(self) -> bool:
        """Return whether it has a picture or is a page of a document."""
        return self.image is not None or self.file is not None


@dataclass(frozen=True, slots=True)
class Example:
    """A query, a document that answers it, and documents that do not.

    Attributes:
        name: of the query, for messages.
        query, positive, negatives: the sides; negatives hardest first.
        judge_scores: of the positive and of each negative; None without a score.
        relevant: keys of all documents known to answer the query, the positive among them.
    """

    name: str
    query: Side
    positive: Side
    negatives: tuple[Side, ...] = ()
    judge_scores: tuple[float | None, ...] = ()
    relevant: frozenset[str] = frozenset()

    @property
    def sides(self) -> tuple[Side, ...]:
        """Return query, positive and negatives."""
        return (self.query, self.positive, *self.negatives)


def read_examples(path: str | Path, *, cap: int | None = None, documents: str = "picture") -> list[Example]:
    """Read the examples of a JSONL file, one per positive of a query.

    Records marked as skipped, and queries without a positive, give no example.

    Args:
        path: the file.
        cap: largest number of examples.
        documents: see `mmrag.training.config.DataConfig`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a record is malformed, a positive is also a negative, a side is empty, or there is no
            example; the message names the record.
    """
    examples: list[Example] = []
    for number, record in enumerate(read_mined(path), 1):
        if not record.get("skipped"):
            examples += examples_of(record, f"{path}, example {number} ({record['query']['id']!r})")
        if cap is not None and len(examples) >= cap:
            break
    if not examples:
        raise ValueError(f"{path} must hold at least one query with a positive, got none.")
    if documents == "text":
        return [_without_pictures(example, str(path)) for example in examples[:cap]]
    return examples[:cap]


def examples_of(record: Mapping[str, Any], where: str) -> Iterator[Example]:
    """Yield an example per positive of a record.

    Args:
        record: of a mined file.
        where: file and number, for messages.

    Raises:
        ValueError: a positive is also a negative or equals the query, or a side is empty.
    """
    query = side_of(record["query"], f"{where}: query")
    positives = [side_of(item, f"{where}: positive") for item in record["positives"]]
    negatives = tuple(side_of(item, f"{where}: negative") for item in record["negatives"])
    removed = [side_of(item, f"{where}: removed") for item in record["removed"]]
    for item, negative in zip(record["negatives"], negatives, strict=True):
        if negative.key in {side.key for side in positives}:
            raise ValueError(f"{where}: a positive must not also be a negative, got {item['id']!r} as both.")
    scores = [item.get("score") for item in record["negatives"]]
    relevant = frozenset(side.key for side in (*positives, *removed))
    for item, positive in zip(record["positives"], positives, strict=True):
        if positive.key == query.key:
            raise ValueError(f"{where}: the positive must differ from the query, got {item['id']!r}.")
        judge_scores = (item.get("score"), *scores)
        yield Example(record["query"]["id"], query, positive, negatives, judge_scores, relevant)


def side_of(item: Mapping[str, Any], where: str) -> Side:
    """Return a query or an item of a record as a side.

    Raises:
        ValueError: it has no text, no image and no file with a page.
    """
    text, image = item.get("text") or "", item.get("image")
    page = item.get("page")
    file = item.get("path") if page is not None else None
    if not text.strip() and image is None and file is None:
        raise ValueError(f"{where} must have text, an image or a file with a page, got none of them.")
    content = [text, image, item.get("sha256") or file, page]
    key = hashlib.sha256(repr(content).encode("utf-8", errors="surrogatepass")).hexdigest()[:24]
    return Side(key, text, image, file, page)


def _without_pictures(example: Example, path: str) -> Example:
    """Return an example whose documents have their words alone; their keys stay.

    Raises:
        ValueError: a document has no words.
    """

    def words(side: Side) -> Side:
        if not side.text.strip():
            raise ValueError(
                f"{path}: with documents: text every document must have text, got one of {example.name!r} "
                "without. Leave the record out, or make the pairs with OCR."
            )
        return replace(side, image=None, file=None, page=None)

    return replace(example, positive=words(example.positive), negatives=tuple(map(words, example.negatives)))


class Pictures:
    """Opens the pictures of sides: picture files, and pages rendered from their documents.

    Args:
        pixels: largest area of a rendered page.
    """

    def __init__(self, pixels: int) -> None:
        self.pixels = pixels
        self._reader: DocumentReader | None = None

    def open(self, side: Side) -> Image | None:
        """Return the picture of a side, or None if it has no picture.

        Raises:
            DocumentError: the file is missing or unreadable, or has no such page.
        """
        if side.image is not None:
            from mmrag.images import load_image

            return load_image(side.image)
        if side.file is None or side.page is None:
            return None
        return self._render(side.file, side.page)

    def _render(self, file: str, number: int) -> Image:
        from mmrag.documents import DocumentReader, ReaderSettings, Skipped, discover
        from mmrag.errors import PageError

        if self._reader is None:
            self._reader = DocumentReader(ReaderSettings(ocr="off"))  # its words are in the record
        document = next(iter(discover(file)))
        if isinstance(document, Skipped):
            raise PageError(f"{file}: {document.reason}", number)
        page = next(iter(self._reader.pages(document, numbers=[number], image_pixels=self.pixels)))
        if isinstance(page, Skipped) or page.image is None:
            raise PageError(f"{file}, page {number + 1}: {getattr(page, 'reason', 'not rendered')}", number)
        return page.image

    def close(self) -> None:
        """End the processes that read documents."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None


@dataclass(frozen=True, slots=True)
class SubDataset:
    """Examples of one kind.

    Attributes:
        name: shown in reports.
        examples: `Example`, or another class in the generative stages.
        weight: how often it is drawn from, relative to its size.
    """

    name: str
    examples: tuple[Any, ...]
    weight: float = 1.0


def read_data(configs: Sequence[DataConfig]) -> list[SubDataset]:
    """Read all sub-datasets of a run.

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


class Mixture(Sequence[Any]):
    """All examples of all sub-datasets, one after another, and batches of their positions.

    Args:
        parts: the sub-datasets.
        batch: queries per batch.
        homogeneous: length of a run of queries from one sub-dataset.
        seed: of the draws.
    """

    def __init__(self, parts: Sequence[SubDataset], *, batch: int, homogeneous: int, seed: int) -> None:
        self.parts = list(parts)
        self.batch = batch
        self.run_length = min(homogeneous, batch)
        self.seed = seed
        self._examples = [example for part in self.parts for example in part.examples]
        self._starts = [0]
        for part in self.parts:
            self._starts.append(self._starts[-1] + len(part.examples))
        self._weights = [part.weight * len(part.examples) for part in self.parts]

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, position: Any) -> Any:  # noqa: ANN401  int or slice
        return self._examples[position]

    def batches(self, count: int) -> Iterator[list[int]]:
        """Yield `count` batches of positions, the same for the same seed.

        Each sub-dataset is traversed in a random order, again and again, so that each of its examples is
        drawn as often as any other. A run of queries may cross from one order into the next.
        """
        rng = random.Random(self.seed)
        orders = [self._order(part, rng) for part in range(len(self.parts))]
        for _ in range(count):
            positions: list[int] = []
            while len(positions) < self.batch:
                (part,) = rng.choices(range(len(self.parts)), weights=self._weights)
                length = min(self.run_length, self.batch - len(positions))
                positions += [next(orders[part]) for _ in range(length)]
            yield positions

    def _order(self, part: int, rng: random.Random) -> Iterator[int]:
        """Yield the positions of a sub-dataset for ever, in a new random order each time round."""
        part_rng = random.Random(rng.getrandbits(64))
        positions = list(range(self._starts[part], self._starts[part + 1]))
        while True:
            part_rng.shuffle(positions)
            yield from positions
