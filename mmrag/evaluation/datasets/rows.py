"""Rows of a benchmark's local copy: where its files lie, and what is in them.

A table of a data set (the hub calls it a configuration) is a folder with a file a part, or one file:
``queries/test-00000-of-00001.parquet``, ``queries.parquet``, ``queries.jsonl``, ``qrels/test.tsv``. Files
are Parquet, JSON Lines, JSON (a list of objects, or one under ``data``), CSV or TSV with a head.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from mmrag.errors import MissingExtraError
from mmrag.files import read_json_lines

Row: TypeAlias = "dict[str, Any]"

_BATCH = 32
"""Rows of a Parquet file in memory at a time: pages with pictures are a megabyte each."""
_SUFFIXES = (".parquet", ".jsonl", ".json", ".csv", ".tsv")


@dataclass(frozen=True, slots=True)
class Source:
    """The local copy of a benchmark.

    Attributes:
        folder: where it is.
        title: name of the benchmark, for errors.
        hub: what to fetch.
        file_names: files that its publishers' layout has.
        split: the part that is read where a table has several.
    """

    folder: Path
    title: str
    hub: str
    file_names: tuple[str, ...]
    split: str

    def tables(self, suffix: str) -> list[str]:
        """Return the names of the tables that end so, sorted, for example ``english-queries``."""
        if not self.folder.is_dir():
            return []
        return sorted(
            item.name for item in self.folder.iterdir() if item.is_dir() and item.name.endswith(suffix)
        )

    def has(self, table: str) -> bool:
        """Check whether there is a file of the table."""
        return bool(self._files(table))

    def rows(self, table: str, columns: Sequence[str] = ()) -> Iterator[Row]:
        """Yield the rows of a table, those of the split where its files say which they are of.

        Args:
            table: its name; ``"data"`` is the only table of a data set that names none.
            columns: to read; those that are not there are left out. None named: all.

        Raises:
            FileNotFoundError: there is no file of it.
            MissingExtraError: a Parquet file, and pyarrow is not installed.
        """
        files = self._files(table)
        if not files:
            raise self.missing_error(table)
        for file in files:
            yield from read_rows(file, columns)

    def path(self, *names: str) -> Path:
        """Return the first of these paths in the folder that is there.

        Raises:
            FileNotFoundError: none is.
        """
        for name in names:
            if (self.folder / name).exists():
                return self.folder / name
        raise self.missing_error(names[0])

    def missing_error(self, name: str) -> FileNotFoundError:
        """Return the error that says what to fetch and where it goes."""
        file_list = "; ".join(self.file_names)
        return FileNotFoundError(
            f"{self.title} must have {name!r} in {self.folder}, got none. Fetch {self.hub} so that the "
            f"folder holds: {file_list}. From the hub: "
            f"hf download NAME --repo-type dataset --local-dir {self.folder}"
        )

    def _files(self, table: str) -> list[Path]:
        """Return the files of a table: those in its folder, else those beside it that have its name."""
        folder = self.folder / table
        paths = _readable(folder) if folder.is_dir() else []
        if not paths:
            paths = [
                path
                for path in _readable(self.folder)
                if path.stem == table or path.stem.startswith((f"{table}-", f"{table}."))
            ]
        of_split = [path for path in paths if _split(path) == self.split]
        return of_split or paths


def read_rows(file: Path, columns: Sequence[str] = ()) -> Iterator[Row]:
    """Yield the rows of one file; see `Source.rows`."""
    if file.suffix == ".parquet":
        yield from _parquet(file, columns)
    elif file.suffix == ".jsonl":
        for _, row in read_json_lines(file, "row"):
            yield row
    elif file.suffix == ".json":
        yield from _json(file)
    else:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            # no quotes in TSV: a text with one quotation mark would swallow the lines after it
            yield from (
                csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
                if file.suffix == ".tsv"
                else csv.DictReader(lines)
            )


def value_of(row: Mapping[str, Any], *names: str) -> Any:  # noqa: ANN401  (a column's values are anything)
    """Return the first of these columns that is there.

    Raises:
        ValueError: none is; the error names what is there.
    """
    for name in names:
        if name in row:
            return row[name]
    raise ValueError(f"a row must have {' or '.join(map(repr, names))}, got the columns {', '.join(row)}.")


def texts_of(value: object) -> tuple[str, ...]:
    """Return a column of one text, of several, or of none, without blanks."""
    if value is None:
        return ()
    values = list(value) if isinstance(value, list | tuple) else [value]
    return tuple(text for item in values if item is not None and (text := str(item).strip()))


def _readable(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES) if folder.is_dir() else []


def _split(path: Path) -> str:
    """Return the part that a file says it is of: ``test-00000-of-00001.parquet``, ``test.tsv``."""
    return path.name.split(".")[0].split("-")[0]


def _json(file: Path) -> Iterator[Row]:
    content = json.loads(file.read_text(encoding="utf-8-sig"))
    rows = content.get("data") if isinstance(content, dict) else content
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{file} must be a JSON list of objects, or have one under 'data', got other JSON.")
    yield from rows


def _parquet(file: Path, columns: Sequence[str]) -> Iterator[Row]:
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise MissingExtraError(f"Reading {file.name}", "datasets") from error
    with ParquetFile(file) as table:
        names = [name for name in table.schema_arrow.names if not columns or name in columns]
        for batch in table.iter_batches(batch_size=_BATCH, columns=names):
            yield from batch.to_pylist()
