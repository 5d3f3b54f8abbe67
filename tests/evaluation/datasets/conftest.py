"""Tiny benchmarks of our own in the layouts of others: pictures are drawn here, texts written here."""

from __future__ import annotations

import io
import json

import pytest
from PIL import Image


class Files:
    """Writes files as publishers lay them out, and reads what a pack made of them."""

    def png(self, shade, size=(200, 100)):
        """A page of one shade of grey, as bytes."""
        data = io.BytesIO()
        Image.new("L", size, shade).save(data, "PNG")
        return data.getvalue()

    def picture(self, shade, size=(200, 100)):
        """As Parquet files of the hub hold a picture."""
        return {"bytes": self.png(shade, size), "path": None}

    def parquet(self, path, rows):
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)

    def lines(self, path, rows):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def sources(self, pack):
        """The file of each document, by the id that the benchmark knows it by."""
        lines = (pack / "sources.jsonl").read_text(encoding="utf-8").splitlines()
        return {line["id"]: line["file"] for line in map(json.loads, lines)}


@pytest.fixture(scope="session")
def files():
    return Files()
