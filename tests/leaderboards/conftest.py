"""Eight texts about eight things, and eight pages of one shade each: what a benchmark hands to a model."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

TEXTS = [
    "The ferry carries 420 passengers across the bay.",
    "Bees dance to tell of flowers.",
    "Iron rusts in rain and salt.",
    "A violin has four strings.",
    "The moon pulls the sea twice a day.",
    "Bread rises with yeast.",
    "Glaciers grind valleys.",
    "Owls hunt at night.",
]
QUESTIONS = [
    "How many passengers does the ferry carry?",
    "What do bees tell of?",
    "How many strings has a violin?",
    "Which birds hunt at night?",
]


class Table:
    """As much of a `datasets.Dataset` as a search model touches: columns, rows, slices of columns."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, key):
        if isinstance(key, str):
            return [row[key] for row in self.rows]
        if isinstance(key, int):
            return self.rows[key]
        return {name: [row[name] for row in self.rows[key]] for name in self.rows[0]}


def picture(number):
    """A page with a band of grey whose height and shade depend on the number."""
    pixels = np.full((96, 128, 3), 255, np.uint8)
    pixels[: 10 * number + 8, :, number % 3] = 20 * number
    return Image.fromarray(pixels)


@pytest.fixture
def table():
    return Table


@pytest.fixture
def texts():
    """Rows of a corpus and of queries, and what is relevant, graded."""
    corpus = [{"id": f"d{n}", "title": "", "text": text} for n, text in enumerate(TEXTS)]
    queries = [{"id": f"q{n}", "text": text} for n, text in enumerate(QUESTIONS)]
    relevant = {"q0": {"d0": 2, "d6": 1}, "q1": {"d1": 1}, "q2": {"d3": 1, "d0": 1}, "q3": {"d7": 2, "d4": 1}}
    return corpus, queries, relevant


@pytest.fixture
def pages():
    """The same with a picture for each document, and none of its words."""
    corpus = [{"id": f"p{n}", "image": picture(n)} for n in range(8)]
    queries = [{"id": f"q{n}", "text": text} for n, text in enumerate(QUESTIONS)]
    relevant = {"q0": {"p0": 2, "p6": 1}, "q1": {"p1": 1}, "q2": {"p3": 1}, "q3": {"p7": 2, "p4": 1}}
    return corpus, queries, relevant


@pytest.fixture(scope="session")
def draw():
    """Draws a page by its number."""
    return picture
