"""Questions from a table that a spreadsheet writes: ``questions.csv`` with question, file and page.

Decisions taken here:

* Pages are counted from 1, from the first page of the file, as viewers of PDFs count them ("page 3 of 20");
  the number printed on the page is not looked at.
* The separator is that of the heading: ``,`` ``;`` or a tab, or what a first line ``sep=;`` says.
* Bytes are UTF-16 or UTF-8 where a mark says so, else UTF-8, else Windows-1252: what Excel writes in Western
  Europe and America where nobody chooses.
* Rows with the same question, or the same id where there is such a column, are one question with the pages of
  all of them.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import io
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

NAME = "questions.csv"
REQUIRED_COLUMNS = ("question", "file", "page")
OPTIONAL_COLUMNS = ("answer", "id", "kind", "source", "written_by")
"""Further columns that are read; others are passed over."""
SEPARATORS = (",", ";", "\t")
ANSWER_SEPARATOR = "|"
UNANSWERABLE = "none"
"""In the column page: the file does not answer the question."""
MOST_PAGES = 1000
"""Of one cell: 1-99999 is a slip."""

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_PAGES = re.compile(r"(\d+)(?:\.0+)?(?:\s*[-\u2013]\s*(\d+))?")
_SEPARATOR_LINE = re.compile(r"\s*\"?sep=(.)\"?\s*", re.I)


def read_csv_questions(path: str | Path, documents: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield ``(line number from 1, question)``, as ``queries.jsonl`` would have them.

    Args:
        path: the table.
        documents: names of the files that it may name.

    Raises:
        ValueError: the table cannot be read, or a row breaks its rules; the message names the line.
    """
    file = Path(path)
    names = {_plain(name): name for name in documents}
    questions: dict[str, tuple[int, dict[str, Any]]] = {}
    for line, row in _rows(file):
        where = f"{file}, line {line}"
        for column in REQUIRED_COLUMNS:
            if not row[column]:
                raise ValueError(
                    f"{where}: '{column}' must not be empty, got {_row_text(row)}.{_hint(column)}"
                )
        name = _document(row["file"], names, where)
        pages = _pages(row["page"], where)
        identity = row.get("id") or row["question"]
        if identity not in questions:
            questions[identity] = (line, _new_question(row, line))
        _add_evidence(questions[identity][1], name, pages, row, where)
    for line, question in questions.values():
        yield line, question


def decode(data: bytes, name: str) -> str:
    """Decode a table; see the module.

    Raises:
        ValueError: it is none of the encodings that spreadsheets write.
    """
    encoding = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None)
    for candidate in (encoding,) if encoding else ("utf-8", "cp1252"):
        try:
            return data.decode(candidate)
        except UnicodeDecodeError:
            continue
    raise ValueError(
        f"{name} must be text in UTF-8, UTF-16 or Windows-1252, got other bytes. Save it as 'CSV UTF-8'."
    )


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each row that is not blank with the line that it begins in."""
    text = decode(file.read_bytes(), str(file))
    first_line, _, rest = text.partition("\n")
    mark, offset = _SEPARATOR_LINE.fullmatch(first_line.strip("\r")), 0
    if mark:
        text, offset = rest, 1
    separator = mark[1] if mark else _separator(text, file)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    columns: list[str] = []
    while True:
        line = reader.line_num + 1 + offset
        try:
            cells = [" ".join(cell.split()) for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(
                f"{file}, line {line}: a row must be cells with closed quotation marks, got {error}."
            ) from error
        if not any(cells):
            continue
        if not columns:
            columns = [cell.casefold() for cell in cells]
            _check_columns(columns, file, line)
            continue
        if any(cells[len(columns) :]):
            raise ValueError(
                f"{file}, line {line}: a row must have at most {len(columns)} cells, as the heading, got "
                f"{len(cells)}. Put a cell with {separator!r} in it into quotation marks."
            )
        yield line, dict(zip(columns, [*cells, *[""] * len(columns)], strict=False))


def _separator(text: str, file: Path) -> str:
    """Return the separator that gives the heading its columns."""
    heading = next((line for line in text.splitlines() if line.strip()), "")
    for separator in SEPARATORS:
        cells = next(csv.reader([heading], delimiter=separator), [])
        if set(REQUIRED_COLUMNS) <= {cell.strip().casefold() for cell in cells}:
            return separator
    raise ValueError(
        f"{file} must begin with a heading that has the columns {', '.join(REQUIRED_COLUMNS)}, separated by "
        f"comma, semicolon or tab, got {heading[:120]!r}."
    )


def _check_columns(columns: Sequence[str], file: Path, line: int) -> None:
    names = [column for column in columns if column in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)]
    absent = [column for column in REQUIRED_COLUMNS if column not in names]
    twice = [column for column in names if names.count(column) > 1]
    if absent or twice:
        problem = f"no column {absent[0]!r}" if absent else f"{twice[0]!r} twice"
        raise ValueError(
            f"{file}, line {line}: the heading must have each of {', '.join(REQUIRED_COLUMNS)} once, "
            f"got {problem}."
        )


def _document(content: str, names: Mapping[str, str], where: str) -> str:
    """Return the name of the document that a cell means, whatever form its accents are written in."""
    if content in names.values():
        return content
    name = names.get(_plain(content)) or names.get(_plain(re.split(r"[\\/]", content)[-1]))
    if name is None:
        near = difflib.get_close_matches(_plain(content), names, n=1, cutoff=0.5)
        hint = f" Did you mean {names[near[0]]!r}?" if near else ""
        raise ValueError(f"{where}: 'file' must be the name of one of the documents, got {content!r}.{hint}")
    return name


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", " ".join(name.split())).casefold()


def _pages(content: str, where: str) -> list[int] | None:
    """Return the pages of a cell, counted from 0; None for a question that is not answered."""
    if content.casefold() == UNANSWERABLE:
        return None
    pages: list[int] = []
    for part in re.split(r"\s*[,;+]\s*|(?<=\d)\s+(?=\d)", content):
        match = _PAGES.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if first < 1 or not first <= last < first + MOST_PAGES:
            raise ValueError(f"{where}: 'page' must be {_PAGE_RULE}, got {content!r}.")
        pages += range(first - 1, last)
    return pages


_PAGE_RULE = (
    "a whole number counted from 1 (the first page of the file is 1), several as in 3, 5 or 3-5, or 'none' "
    "where the file does not answer the question"
)


def _hint(column: str) -> str:
    return f" Write {_PAGE_RULE}." if column == "page" else ""


def _row_text(row: Mapping[str, str]) -> str:
    return ", ".join(f"{column}={row[column][:60]!r}" for column in REQUIRED_COLUMNS)


def _new_question(row: Mapping[str, str], line: int) -> dict[str, Any]:
    question: dict[str, Any] = {"id": row.get("id") or f"line-{line}", "question": row["question"]}
    question |= {name: row[name] for name in ("kind", "source", "written_by") if row.get(name)}
    return question | {"answerable": False, "docs": [], "evidence": [], "answers": []}


def _add_evidence(
    question: dict[str, Any], name: str, pages: Sequence[int] | None, row: Mapping[str, str], where: str
) -> None:
    """Add what a row says to its question.

    Raises:
        ValueError: it says otherwise than an earlier row.
    """
    is_answerable = pages is not None
    if question["question"] != row["question"] or (
        question["docs"] and question["answerable"] != is_answerable
    ):
        raise ValueError(
            f"{where}: rows of one question must have the same words, and all pages or all 'none', got "
            f"others than those of {question['id']!r}."
        )
    question["answerable"] = is_answerable
    if name not in question["docs"]:
        question["docs"].append(name)
    evidence = [{"doc": name, "page": page} for page in dict.fromkeys(pages or ())]
    question["evidence"] += [item for item in evidence if item not in question["evidence"]]
    answers = [answer.strip() for answer in row.get("answer", "").split(ANSWER_SEPARATOR)]
    question["answers"] += [answer for answer in answers if answer and answer not in question["answers"]]
