"""An API over a small real index."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from mmrag import DocumentQA, ReaderSettings
from mmrag.apps.access import Access, Grant, key_digest
from mmrag.apps.api import create_app
from mmrag.apps.collections import Collections
from mmrag.apps.scope import ServerParts

KEYS = {
    "whole-and-writing-key": Grant("writer"),
    "one-collection-only-key": Grant("tea", ("tea",), None, False),
    "spring-pages-only-key": Grant("spring", None, {"season": "spring"}, False),
}


def client_of(app) -> TestClient:
    return TestClient(app, base_url="http://localhost", raise_server_exceptions=False)


def open_small(folder: Path, embedder, **options) -> DocumentQA:
    return DocumentQA.open(
        folder, embedder=embedder, reader=ReaderSettings(ocr="off", workers=1), reranker=None, **options
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory, make_pdf, embedder) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("indexes")
    whales = make_pdf(
        root / "whales.pdf", ["The blue whale weighs 150 tonnes.", "A whale sings at 20 hertz.", "Krill."]
    )
    tea = make_pdf(root / "tea.pdf", ["Green tea is steeped at 80 degrees.\nBlack tea at 95 degrees."])
    with open_small(root / "whales", embedder) as qa:
        qa.add(whales, metadata={"season": "spring"})
        qa.add([("secret.pdf", tea.read_bytes())], metadata={"season": "autumn"})
    with open_small(root / "tea", embedder) as qa:
        qa.add(tea, metadata={"season": "spring"})
    return {"whales": root / "whales", "tea": root / "tea"}


@pytest.fixture
def serve(folders, embedder):
    """Make a client of a server over both indexes, or over those given."""
    clients = []

    def make(keys=None, read_only=True, chosen=None, **options):
        access = Access({key_digest(key): grant for key, grant in (keys or {}).items()})
        indexes = Collections(
            chosen or folders, lambda folder: open_small(folder, embedder, read_only=read_only)
        )
        limits = {name: options.pop(name) for name in ("seconds", "add_root") if name in options}
        client = client_of(create_app(ServerParts(indexes, access, **limits), **options))
        clients.append(client)
        return client.__enter__()

    yield make
    for client in clients:
        client.__exit__(None, None, None)
