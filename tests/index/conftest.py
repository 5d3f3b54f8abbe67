"""What the index tests share: a small real embedder's identity, and records made from a seed."""

from dataclasses import dataclass

import numpy as np
import pytest

from mmrag.types import Page, Record, Source, Word


@dataclass(frozen=True)
class Identity:
    """The part of an embedder that an index remembers."""

    name: str = "tiny"
    fingerprint: str = "0123456789abcdef" * 4
    dim: int = 8


@pytest.fixture
def identity():
    return Identity()


@pytest.fixture
def make_identity():
    return Identity


def unit(array):
    return array / np.linalg.norm(array, axis=-1, keepdims=True)


def make_records(count, *, seed=0, dim=8, rows=4, prefix="r", text="page {n} of the report", metadata=None):
    """Records whose rows lie around their row 0, as the rows of a nested embedder do."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.standard_normal((count, 1, dim)))
    matrices = unit(centres + 0.3 * unit(rng.standard_normal((count, rows, dim))))
    return [
        Record(f"{prefix}{n}", matrices[n], text.format(n=n), (metadata or (lambda n: {"n": n}))(n))
        for n in range(count)
    ]


def make_page(
    number=0, *, sha256="ab" * 32, name="report.pdf", text="net sales 5", id=None, path="/tmp/report.pdf"
):
    source = Source(sha256=sha256, kind="pdf", name=name, path=path)
    words = tuple(Word(word, (0.1 * i, 0.1, 0.1 * i + 0.05, 0.2)) for i, word in enumerate(text.split()))
    return Page(
        id=id or source.page_id(number),
        document_id=source.document_id,
        number=number,
        label=str(number + 1),
        text=text,
        words=words,
        size=(595.0, 842.0),
        source=source,
        total_pages=9,
        notes=("a note",),
    )
