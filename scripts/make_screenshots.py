"""Take the pictures of the page of ``mmrag ui`` that the documentation shows.

    python scripts/make_screenshots.py [FOLDER]

They are of the sample documents, asked in Chromium, and go into docs/images unless another folder is named.
With another folder the narrow window and the other colours come, too: to look at after a change. Needs the
extra ``ui``, playwright and Chromium, as ``make test-ui`` does.
"""

from __future__ import annotations

import io
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

import uvicorn
from make_vllm import PROJECT
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from mmrag import DocumentQA
from mmrag.apps.access import Access
from mmrag.apps.api import create_app
from mmrag.apps.collections import Collections
from mmrag.apps.scope import ServerParts

DOCUMENTS = PROJECT / "mmrag" / "samples" / "pack" / "documents"
TABLE = ["What were net sales in Europe in 2024?"]
SCAN = ["How long does delivery of another impeller take?"]
TALK = ["How much did Harborlight spend on research and development in 2023?", "And in 2022?"]
PATIENCE = 120_000  # milliseconds, on a busy machine
NOTHING = ["What is the mayor of Lisbon called?"]
WIDE, NARROW = (1180, 720), (420, 760)
SHOWN = {
    "ui-answer": (TABLE, "light", WIDE, True),
    "ui-scan-dark": (SCAN, "dark", WIDE, True),
}
"""By file name: questions one after the other, colours, window, and whether the first citation is opened."""
LOOKED_AT = {
    f"{name}-{colours}-{'wide' if window == WIDE else 'narrow'}": (questions, colours, window, is_open)
    for name, questions, is_open in (
        ("table", TABLE, True),
        ("scan", SCAN, True),
        ("talk", TALK, False),
        ("nothing", NOTHING, False),
    )
    for colours in ("light", "dark")
    for window in (WIDE, NARROW)
}


def main() -> int:
    folder = Path(sys.argv[1]) if sys.argv[1:] else PROJECT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    chromium = os.environ.get("MMRAG_CHROMIUM")
    chromium = chromium or shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        index = Path(name) / "index"
        with DocumentQA.open(index) as qa:
            qa.add(DOCUMENTS)
        url = serve(index)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        first = browser.new_page()
        first.goto(url)
        show(first, TABLE, is_open=False)  # so that no picture tells the seconds of a first question
        for file, scene in (SHOWN | LOOKED_AT if sys.argv[1:] else SHOWN).items():
            questions, colours, (width, height), is_open = scene
            page = browser.new_page(color_scheme=colours, viewport={"width": width, "height": height})
            page.goto(url)
            show(page, questions, is_open)
            picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            picture.quantize(256).save(folder / f"{file}.png", optimize=True)  # a third of the bytes
            page.close()
            print(folder / f"{file}.png")
        browser.close()
    return 0


def serve(index: Path) -> str:
    """Serve an index for reading, in a thread, and return the address of its page."""
    collections = Collections({"samples": index}, lambda folder: DocumentQA.open(folder, read_only=True))
    app = create_app(ServerParts(collections, Access({})), with_page=True)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()
    while not server.started:
        time.sleep(0.05)
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def show(page: Page, questions: list[str], is_open: bool) -> None:
    """Ask the questions; open the first citation of the last."""
    page.set_default_timeout(PATIENCE)
    for question in questions:
        page.fill("#question", question)
        page.click("#ask-button")
        page.wait_for_function(
            "() => document.querySelector('#answer h2') && document.getElementById('progress').hidden"
        )
    if is_open:
        page.click(".card >> nth=0")
        page.wait_for_selector(".page-frame:not([aria-busy])")
    page.wait_for_load_state("networkidle")  # thumbnails
    page.mouse.move(0, 0)


if __name__ == "__main__":
    sys.exit(main())
