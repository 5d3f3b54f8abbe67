"""Collections and their documents: what is there, adding, removing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, UploadFile
from starlette.concurrency import run_in_threadpool

from mmrag.apps.faults import ForbiddenError, NotFoundError
from mmrag.apps.results import CollectionModel, DocumentModel, PathsBody, RemovedModel, ReportModel
from mmrag.apps.scope import GrantOf, PartsOf, Scope, ScopeOf

router = APIRouter(prefix="/api/collections", tags=["documents"])

LONGEST_NAME = 200
"""Characters of an uploaded file's name that are kept."""


@router.get("")
def collections(parts: PartsOf, grant: GrantOf) -> list[CollectionModel]:
    """List the collections that the caller sees."""
    return [
        _collection(Scope(name, parts.collections.get(name), grant, parts))
        for name in parts.collections
        if grant.sees(name)
    ]


@router.get("/{collection}")
def collection(scope: ScopeOf) -> CollectionModel:
    """Return a collection and what it holds."""
    return _collection(scope)


def _collection(scope: Scope) -> CollectionModel:
    qa = scope.qa
    return CollectionModel(
        name=scope.name,
        documents=len(_first_pages(scope)) if scope.grant.filter else len(qa.index.documents()),
        records=qa.index.count(scope.filter()),
        embedder=qa.index.manifest.embedder,
        can_write=scope.can_write,
        thinks=hasattr(qa.reranker, "think_tokens"),
        answers_in_words=type(qa.answerer).__name__ != "ExtractiveAnswerer",
    )


def _first_pages(scope: Scope) -> dict[str, str]:
    """Return the first page that the caller sees of each document, by the document's id."""
    index = scope.qa.index
    first: dict[str, str] = {}
    for record_id, document_id in index.document_ids(index.ids(scope.filter())).items():
        first.setdefault(document_id, record_id)
    return first


@router.get("/{collection}/documents")
def documents(scope: ScopeOf) -> list[DocumentModel]:
    """List the documents that the caller sees, in the order they were added."""
    first = _first_pages(scope)
    entries = scope.qa.index.documents()
    visible_entries = [entry for entry in entries if entry.id in first or scope.grant.filter is None]
    return [DocumentModel.of(entry, first.get(entry.id)) for entry in visible_entries]


@router.post("/{collection}/documents")
async def upload(
    scope: ScopeOf,
    files: Annotated[
        list[UploadFile], File(description="PDFs, pictures, office files, texts, e-mails: docs/formats.md.")
    ],
    metadata: Annotated[str, Form(description="JSON object, written on every page.")] = "{}",
) -> ReportModel:
    """Add files; they are kept in the index."""
    scope.check_write()
    values = _metadata(metadata)
    inputs = [(_plain_name(file.filename), await file.read()) for file in files]
    report = await run_in_threadpool(scope.qa.add, inputs, metadata=values)
    return ReportModel.of(report)


@router.post("/{collection}/paths")
def add_paths(scope: ScopeOf, parts: PartsOf, body: PathsBody) -> ReportModel:
    """Add files and folders of the server's machine, where the server was started to allow it."""
    scope.check_write()
    paths = [_allowed(parts.add_root, path) for path in body.paths]
    return ReportModel.of(scope.qa.add(paths, metadata=body.metadata))


def _allowed(root: Path | None, path: str) -> Path:
    """Return a path below the folder that callers may name files in.

    Raises:
        ForbiddenError: there is no such folder, or the path leads out of it.
        NotFoundError: nothing is there.
    """
    if root is None:
        raise ForbiddenError("this server takes no paths; upload the files, or start it with --allow-paths.")
    absolute_path = (root / path).resolve()
    if not absolute_path.is_relative_to(root.resolve()):
        raise ForbiddenError("a path must be in the folder that the server was started with.")
    if not absolute_path.exists():
        raise NotFoundError(f"there is no {absolute_path.name!r} in the server's folder.")
    return absolute_path


@router.delete("/{collection}/documents/{document_id}")
def remove(document_id: str, scope: ScopeOf) -> RemovedModel:
    """Remove a document and all its pages."""
    scope.check_write()
    if document_id not in {entry.id for entry in scope.qa.index.documents()}:
        raise NotFoundError(f"there is no document {document_id[:80]!r} in {scope.name!r}.")
    return RemovedModel(records=scope.qa.index.remove_document(document_id))


def _plain_name(name: str | None) -> str:
    """Return the last part of a file's name, without characters that steer anything."""
    last = (name or "").replace("\\", "/").rsplit("/", 1)[-1]
    plain = "".join(character for character in last if character.isprintable()).strip(". ")
    return plain[-LONGEST_NAME:] or "upload"


def _metadata(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"metadata must be a JSON object, got {error}.") from error
    if not isinstance(values, dict):
        raise ValueError(f"metadata must be a JSON object, got {type(values).__name__}.")
    return values
