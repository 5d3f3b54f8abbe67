"""A server and a real browser for the tests of the page: ``make test-ui``.

Every test in here gets the marker ``ui`` and is left out of the ordinary run, which has no browser. Here a
missing browser fails and skips nothing. Every page that a test opens is watched: a dialog, an error in its
console, or a request to anywhere but its server fails the test at the end.
"""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

MARGIN, LINE, TOP = 72, 18, 90  # points, as `make_pdf` sets its lines
WIDTH, HEIGHT = 612, 792
START_SECONDS = 60
PATIENCE = 60_000  # milliseconds that anything may take on a busy machine

FILLER = "The quay was swept and the lamps were lit as on every other day."
PUMP = "Pump B ran 41 hours in March."
PUMP_LINE = 32  # far down: the page must be scrolled to it
SCAN = "Valve K7 was replaced by Ada Ferrant on Monday."
SCAN_LINE = 30
HOSTILE_NAME = "<img src=x onerror=alert(1)>.pdf"
HOSTILE_TEXT = (
    "<script>alert(2)</script>\nThe harbour master is <img src=x onerror=alert(3)> Ines Vauban.\n{{alert(4)}}"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.ui)


def page_text(sentence: str, line: int) -> str:
    """A page with one sentence that matters, on a line counted from 0, blank lines around it."""
    before = [FILLER] * (line - 4) + [""] * 4
    return "\n".join([*before, sentence, "", "", "", FILLER])


def scanned(source: Path, target: Path) -> Path:
    """The pages of a PDF as pictures in a PDF without text."""
    import pymupdf

    with pymupdf.open(source) as typed, pymupdf.open() as scan:
        for page in typed:
            picture = page.get_pixmap(dpi=150).tobytes("jpg", jpg_quality=90)
            scan.new_page(width=WIDTH, height=HEIGHT).insert_image((0, 0, WIDTH, HEIGHT), stream=picture)
        scan.save(target)
    return target


# ---- servers --------------------------------------------------------------------------------------


@dataclass
class LiveServer:
    """A server in a thread of this process."""

    url: str
    app: Any


@pytest.fixture(scope="session")
def start_server(embedder) -> Iterator[Callable[..., LiveServer]]:
    """Start a server over index folders by name; `with_keys` are keys that may do everything."""
    import uvicorn

    from mmrag.apps.access import Access, Grant, key_digest
    from mmrag.apps.api import create_app
    from mmrag.apps.collections import Collections
    from mmrag.apps.scope import ServerParts

    servers = []

    def start(folders: dict[str, Path], *, with_keys=(), read_only=False) -> LiveServer:
        access = Access({key_digest(key): Grant("all") for key in with_keys})
        indexes = Collections(folders, lambda folder: open_index(folder, embedder, read_only=read_only))
        app = create_app(ServerParts(indexes, access), with_page=True)
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        servers.append((server, thread))
        deadline = time.monotonic() + START_SECONDS
        while not server.started:
            assert thread.is_alive() and time.monotonic() < deadline, "the server did not start"
            time.sleep(0.05)
        return LiveServer(f"http://127.0.0.1:{listener.getsockname()[1]}", app)

    yield start
    for server, _ in servers:
        server.should_exit = True
    for _, thread in servers:
        thread.join(timeout=20)


def open_index(folder: Path, embedder, **options):
    from mmrag import DocumentQA, ReaderSettings

    return DocumentQA.open(
        folder, embedder=embedder, reader=ReaderSettings(workers=1), reranker=None, **options
    )


@pytest.fixture(scope="session")
def index(tmp_path_factory, make_pdf, embedder) -> Path:
    """An index of a text PDF of three pages, a scan and a document that would like to run scripts."""
    root = tmp_path_factory.mktemp("ui")
    pumps = make_pdf(root / "pumps.pdf", ["Station diary.", page_text(PUMP, PUMP_LINE), "Last page."])
    scan = scanned(make_pdf(root / "typed.pdf", [page_text(SCAN, SCAN_LINE)]), root / "valves-scan.pdf")
    hostile = make_pdf(root / "hostile.pdf", [HOSTILE_TEXT])
    with open_index(root / "index", embedder) as qa:
        report = qa.add([pumps, scan])
        assert not report.skipped
        qa.add([(HOSTILE_NAME, hostile.read_bytes())])
    return root / "index"


@pytest.fixture(scope="session")
def server(start_server, index, tmp_path_factory) -> LiveServer:
    """A server for reading, with the index of all tests and an empty one."""
    return start_server({"diary": index}, read_only=True)


@pytest.fixture
def writing_server(start_server, tmp_path) -> LiveServer:
    """A server over two empty indexes that may be written."""
    return start_server({"first": tmp_path / "first", "second": tmp_path / "second"})


# ---- browser --------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium without a window. Fails where it or playwright is missing."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.fail("playwright is not installed. Run the tests of the page with: make test-ui")
    path = os.environ.get("MMRAG_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.fail("there is no chromium. Run `make test-ui`, or name one with MMRAG_CHROMIUM.")
    with sync_playwright() as playwright:
        # No sandbox: tests in a container run as root, where Chromium refuses to start with one.
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@dataclass
class Watch:
    """What happened on the pages of a test that must not, and what they asked of the server."""

    faults: list[str] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)  # method, address

    def asked(self, method: str, ending: str) -> int:
        return sum(m == method and address.split("?")[0].endswith(ending) for m, address in self.requests)


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def open_page(browser, watch) -> Iterator[Callable[..., Any]]:
    """Open an address in a browser of its own (no cookies, no storage of another); options are the context's.

    `allows` are parts of console errors that the test means to cause.
    """
    contexts, allowed = [], []

    def opened(url: str, *, allows: tuple[str, ...] = (), **options):
        options.setdefault("viewport", {"width": 1280, "height": 720})
        origin = "/".join(url.split("/")[:3])
        context = browser.new_context(**options)
        contexts.append(context)
        allowed.extend(allows)
        context.set_default_timeout(PATIENCE)

        def decide(route):
            address = route.request.url
            watch.requests.append((route.request.method, address))
            if address.startswith(f"{origin}/"):
                route.continue_()
            else:
                watch.faults.append(f"request to {address}")
                route.abort()

        context.route("**/*", decide)
        page = context.new_page()

        def dismiss(dialog):
            watch.faults.append(f"dialog: {dialog.message}")
            dialog.dismiss()

        page.on("dialog", dismiss)
        page.on("pageerror", lambda error: watch.faults.append(f"error: {error}"))
        page.on(
            "console",
            lambda message: watch.faults.append(message.text) if message.type == "error" else None,
        )
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [fault for fault in watch.faults if not any(part in fault for part in allowed)] == []


def ask(page, question: str) -> None:
    """Type a question and wait for its answer."""
    page.fill("#question", question)
    page.click("#ask-button")
    page.wait_for_selector("#answer h2", state="attached")


def wait_for_picture(page) -> None:
    """Wait until the open page's picture is on the screen."""
    page.wait_for_selector(".page-frame:not([aria-busy])")
