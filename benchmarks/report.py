"""Write docs/benchmarks.md from the figures in benchmarks/results, by what benchmarks/report.toml says.

A section of the TOML has a title, a text, and any number of tables. A table names its result (the file in
results/), the place of its rows in it, and for each column a head and a format: ``["bytes a page",
"{bytes_a_page:,.0f}"]``. Rows are a list of objects, or an object of objects (the name is then ``{name}``).
``{a[b]:.2f}`` reaches into a row. Notes are formatted the same way, by the whole result. `plots.py` draws
what a table's ``plot`` says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomllib
from plots import draw

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
DOCUMENT = HERE.parent / "docs" / "benchmarks.md"


def write_report(results: Path = RESULTS, document: Path = DOCUMENT) -> Path:
    """Write the document and draw its plots; returns its path."""
    document.write_text(text(results), encoding="utf-8")
    for table in tables():
        if plan := table.get("plot"):
            about = json.loads((results / f"{table['result']}.json").read_text(encoding="utf-8"))
            rows = _rows(about["result"], table.get("rows", "rows"), table.get("without", ()))
            form = table["columns"][0][1]
            draw({"bar": form, **plan}, rows, document.parent)
    return document


def tables(plan: Path = HERE / "report.toml") -> list[Mapping[str, Any]]:
    """Return the tables of all sections."""
    sections = tomllib.loads(plan.read_text(encoding="utf-8"))["section"]
    return [table for section in sections for table in section.get("table", ())]


def text(results: Path = RESULTS, plan: Path = HERE / "report.toml") -> str:
    """Return the document.

    Raises:
        FileNotFoundError: a result that a table wants is not there.
        ValueError: a result that no table shows, or a figure that a result lacks.
    """
    sections = tomllib.loads(plan.read_text(encoding="utf-8"))["section"]
    shown = {table["result"] for table in tables(plan)}
    if unshown := sorted({path.stem for path in results.glob("*.json")} - shown):
        raise ValueError(
            f"every result must be shown, got {', '.join(unshown)} beside. Add it to {plan.name}."
        )
    return "\n".join(line for section in sections for line in _section(section, results)).rstrip() + "\n"


def _section(section: Mapping[str, Any], results: Path) -> Iterator[str]:
    yield f"{'#' * section.get('level', 2)} {section['title']}"
    yield ""
    if section.get("text"):
        yield from (section["text"].strip(), "")
    for table in section.get("table", ()):
        about = json.loads((results / f"{table['result']}.json").read_text(encoding="utf-8"))
        yield from _table(table, about)
    if section.get("after"):
        yield from (section["after"].strip(), "")


def _table(table: Mapping[str, Any], about: Mapping[str, Any]) -> Iterator[str]:
    if table.get("text"):
        yield from (table["text"].strip(), "")
    if not table.get("goes_on"):
        yield from ("```", about["command"], "```", "", f"{where(about)}", "")
    rows = _rows(about["result"], table.get("rows", "rows"), table.get("without", ()))
    columns: Sequence[tuple[str, str]] = table["columns"]
    yield f"| {' | '.join(head for head, _ in columns)} |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield f"| {' | '.join(_cell(form, row, table['result']) for _, form in columns)} |"
    yield ""
    for note in table.get("notes", ()):
        yield from (_cell(note, about["result"], table["result"]), "")
    if plot := table.get("plot"):
        yield from (f"![{plot['caption']}]({plot['image']})", "")
    if table.get("image"):
        yield from (f"![{table.get('caption', table['result'])}]({table['image']})", "")
    for caption, image in table.get("more_images", ()):
        yield from (f"![{caption}]({image})", "")


def where(about: Mapping[str, Any]) -> str:
    """Return when, where and how busy."""
    machine = about["machine"]
    parts = [about["date"], f"{machine['processor']}, {machine['cores']} cores"]
    parts += [f"load {' to '.join(map(str, about['load']))}"] if about.get("load") else []
    parts += [f"{name} {version}" for name, version in about.get("versions", {}).items() if name in _NAMED]
    parts += [about["note"]] if about.get("note") else []
    return "; ".join(parts) + "."


_NAMED = ("numpy", "onnxruntime", "torch")


def _rows(result: Any, place: str, without: Sequence[str]) -> list[Mapping[str, Any]]:
    for part in [part for part in place.split(".") if part]:
        result = result[part]
    if isinstance(result, Mapping):
        return [{"name": name, **row} for name, row in result.items() if name not in without]
    return list(result)


def _cell(form: str, row: Mapping[str, Any], name: str) -> str:
    try:
        return form.format(**row)
    except (KeyError, TypeError, ValueError) as error:
        if "NoneType.__format__" in str(error):  # measured for some rows alone
            return ""
        raise ValueError(
            f"result {name} must have what {form!r} shows, got {error!r}. Run it again."
        ) from error
