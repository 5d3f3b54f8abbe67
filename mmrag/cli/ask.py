"""``mmrag ask``: an answer with its evidence, or a file of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from mmrag.cli.command import EXIT_OK, UsageError, check_question
from mmrag.cli.common import (
    AnswererOptions,
    EmbedderOptions,
    IndexOptions,
    OutputOptions,
    RerankOptions,
    SearchOptions,
    open_to_read,
)
from mmrag.cli.data import answer_data
from mmrag.cli.loading import load_ahead
from mmrag.cli.progress import Progress
from mmrag.cli.texts import answer_text, write_pictures
from mmrag.files import read_json_lines

if TYPE_CHECKING:
    from mmrag.pipeline import DocumentQA
    from mmrag.types import Answer

LONGEST_NAME = 200  # bytes; file systems take 255
_PATH_CHARACTER = re.compile("[/\\\\:\x00-\x1f\ud800-\udfff]")

_file_option = partial(Option, rich_help_panel="Files")


@dataclass(frozen=True)
class FileOptions:
    """Where questions come from and answers go."""

    evidence_dir: Annotated[
        Path | None,
        _file_option("--evidence-dir", metavar="DIR", help="Write a PNG of each cited page, boxes drawn."),
    ] = None
    highlight: Annotated[
        Path | None,
        _file_option(
            "--highlight",
            metavar="PDF",
            help="Write the cited document as PDF with the cited places marked; further ones beside it.",
        ),
    ] = None
    source: Annotated[
        Path | None, _file_option("--from", metavar="FILE", help="JSON lines with a 'question' each.")
    ] = None
    target: Annotated[Path | None, _file_option("--to", metavar="FILE", help="Where their answers go.")] = (
        None
    )

    history: Annotated[
        Path | None,
        _file_option(
            "--history",
            metavar="FILE",
            help="Messages (JSON lines; a list in *.json) that the question may lean on; it is added.",
        ),
    ] = None

    def check(self, question: str | None) -> None:
        """Check that there is a question or a file of them, and a file for its answers.

        Raises:
            UsageError: both or neither, or a question without words.
        """
        if (question is None) == (self.source is None):
            raise UsageError("give either a QUESTION or --from FILE, not both and not neither.")
        if question is not None:
            check_question(question)
        if (self.source is None) != (self.target is None):
            raise UsageError("--from and --to go together.")
        if self.highlight is not None and self.source is not None:
            raise UsageError("--highlight is for one QUESTION; leave out --from.")
        if self.history is not None and self.source is not None:
            raise UsageError("--history is for one QUESTION; leave out --from.")


def ask(
    output: OutputOptions,
    index: IndexOptions,
    embedder: EmbedderOptions,
    search: SearchOptions,
    rerank: RerankOptions,
    answerer: AnswererOptions,
    files: FileOptions,
    question: Annotated[str | None, Argument(metavar="QUESTION", help="In words; or --from.")] = None,
) -> int:
    """Answer one question, or a file of them."""
    files.check(question)
    load_ahead(embedder=embedder == EmbedderOptions())
    options = rerank.arguments(index.folder)
    with open_to_read(index, embedder, answerer=answerer.load_answerer(), **options) as qa:
        if files.source is not None and files.target is not None:
            return _ask_file(qa, files.source, files.target, files.evidence_dir, search, output)
        if files.history is None:
            answer, pictures = _answer(qa, question or "", files.evidence_dir, search)
        else:
            answer, pictures = _answer_in_chat(qa, question or "", files.history, files.evidence_dir, search)
        marked_paths = _highlight(qa, answer, files.highlight)
    data = answer_data(answer, pictures) | ({"highlights": marked_paths} if files.highlight else {})
    output.write(
        data, "\n".join([answer_text(answer, pictures), *(f"Marked: {path}" for path in marked_paths)])
    )
    return EXIT_OK


def _highlight(qa: DocumentQA, answer: Answer, path: Path | None) -> list[str]:
    """Write the cited documents with their places marked; none where nothing is cited."""
    if path is None or all(citation.page is None for citation in answer.citations):
        return []
    return [str(written_path) for written_path in qa.highlight(answer, path)]


def _answer(
    qa: DocumentQA, question: str, folder: Path | None, search: SearchOptions
) -> tuple[Answer, dict[int, str]]:
    """Return an answer, and the paths of its pictures in `folder` by citation number."""
    answer = qa.ask(question, evidence=folder is not None, **search.arguments())
    return answer, write_pictures(answer, folder) if folder else {}


def _answer_in_chat(
    qa: DocumentQA,
    question: str,
    path: Path,
    folder: Path | None,
    search: SearchOptions,
) -> tuple[Answer, dict[int, str]]:
    """Return an answer as `_answer` does; it may lean on the messages in a file, and is added to them."""
    from mmrag.conversation.history import load_history

    chat = qa.chat(load_history(path))
    answer = chat.ask(question, evidence=folder is not None, **search.arguments())
    chat.save(path)
    return answer, write_pictures(answer, folder) if folder else {}


def _ask_file(
    qa: DocumentQA,
    source: Path,
    target: Path,
    evidence_dir: Path | None,
    search: SearchOptions,
    output: OutputOptions,
) -> int:
    """Answer every question of a JSON Lines file."""
    requests = list(_requests(source))
    if evidence_dir is not None:
        check_folder_names(requests, source)
    _write_answers(qa, requests, target, evidence_dir, search)
    count = len(requests)
    output.write({"questions": count, "to": str(target)}, f"{count} answers in {target}")
    return EXIT_OK


def check_folder_names(requests: Sequence[dict[str, Any]], source: Path) -> None:
    """Check that each id can be the name of a folder, and of none elsewhere.

    Raises:
        ValueError: an id is ``..``, a path, empty or too long.
    """
    for request in requests:
        name = str(request.get("id", "1"))
        length = len(name.encode(errors="replace"))
        if name in ("", ".", "..") or _PATH_CHARACTER.search(name) or length > LONGEST_NAME:
            raise ValueError(
                f"with --evidence-dir each 'id' of {source} names a folder in it and must be a file name, "
                f"got {name[:80]!r}. Use letters, digits, '-' and '_'."
            )


def _write_answers(
    qa: DocumentQA,
    requests: Sequence[dict[str, Any]],
    target: Path,
    evidence_dir: Path | None,
    search: SearchOptions,
) -> None:
    """Write requests with their answers as JSON Lines.

    `target` appears when all are answered; after a failure the answers so far are in ``<target>.partial``.
    """
    partial_target = target.with_name(target.name + ".partial")
    with Progress() as progress, partial_target.open("w", encoding="utf-8") as file:
        for number, request in enumerate(requests, 1):
            folder = evidence_dir / str(request.get("id", number)) if evidence_dir else None
            answer, pictures = _answer(qa, request["question"], folder, search)
            file.write(json.dumps({**request, **answer_data(answer, pictures)}) + "\n")
            file.flush()
            progress.show(number, len(requests), f"{number} of {len(requests)} questions")
    partial_target.replace(target)


def _requests(path: Path) -> Iterator[dict[str, Any]]:
    for number, request in read_json_lines(path, "question"):
        if not isinstance(request.get("question"), str):
            raise ValueError(
                f"every line of {path} must be an object with a text 'question', got line {number}: "
                f"{json.dumps(request)[:80]}"
            )
        yield request
