"""What is around an answer: uploads, options, keys of the server and of the keyboard, dark and narrow."""

from __future__ import annotations

import asyncio
import threading

import pymupdf
import pytest

from .conftest import HOSTILE_NAME, PUMP, ask, wait_for_picture

QUESTION = "How long did pump B run in March?"
KEY = "a-key-that-opens-everything"


def pdf(text: str) -> bytes:
    with pymupdf.open() as document:
        document.new_page().insert_text((72, 90), text)
        return document.tobytes()


def file(name: str, data: bytes) -> dict[str, object]:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": data}


# ---- documents ------------------------------------------------------------------------------------


def test_files_are_added_with_what_was_skipped_and_why_asked_and_removed(writing_server, open_page):
    page = open_page(writing_server.url)
    page.click("text=Add documents")
    files = [file("diary.pdf", pdf(PUMP)), file("notes.bin", b"\0\1"), file(HOSTILE_NAME, pdf("Nothing."))]
    page.set_input_files("#file", files)
    page.wait_for_function("() => document.querySelectorAll('.document').length === 2")
    page.wait_for_function("() => !document.querySelector('.upload-list progress')")
    said = page.locator(".upload-list li").all_inner_texts()
    assert "added, 1 page" in said[0] and "skipped: " in said[1] and "added" in said[2]
    assert HOSTILE_NAME in said[2] and HOSTILE_NAME in page.inner_text("#document-list")

    page.click("#close-documents")
    ask(page, QUESTION)
    assert "41 hours" in page.inner_text("#answer")

    page.click("#show-documents")
    page.click("button[aria-label='Remove diary.pdf']")
    assert page.evaluate("document.activeElement.textContent") == "Keep it"
    page.keyboard.press("Escape")  # closes the question alone
    assert page.locator(".document").count() == 2 and page.locator(".confirm").count() == 0
    page.click("button[aria-label='Remove diary.pdf']")
    page.click("text=Remove it")
    page.wait_for_function("() => document.querySelectorAll('.document').length === 1")
    page.wait_for_function("() => document.getElementById('show-documents').textContent === 'Documents (1)'")


def test_files_are_dropped_and_collections_are_apart(writing_server, open_page):
    page = open_page(writing_server.url)
    page.select_option("#collection", "second")
    page.click("#show-documents")
    page.wait_for_selector("#upload:not([hidden])")
    page.evaluate(
        """bytes => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], "dropped.pdf"));
          document.querySelector(".drop").dispatchEvent(
            new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
        }""",
        list(pdf(PUMP)),
    )
    page.wait_for_selector(".document")
    page.click("#close-documents")
    page.wait_for_selector("#welcome:has-text('1 document')", state="attached")
    page.select_option("#collection", "first")
    page.wait_for_selector("#welcome:has-text('There is no document yet')")


def test_a_server_for_reading_offers_no_change(server, open_page):
    page = open_page(server.url)
    page.click("#show-documents")
    page.wait_for_selector(".document")
    assert page.locator("#upload").is_hidden()
    assert page.locator("button[aria-label^=Remove]").count() == 0


# ---- options --------------------------------------------------------------------------------------


def test_options_reach_the_search_and_wrong_ones_are_told(server, open_page):
    page = open_page(server.url)
    bodies = []
    page.on("request", lambda request: bodies.append(request.post_data_json) if request.post_data else None)
    page.fill("#question", "pump or valve")
    page.click("#options summary")
    page.fill("#k", "2")
    page.uncheck("#channel-vectors")
    page.uncheck("#rerank")
    page.fill("#budget-question", "3")
    page.click("#search-button")
    assert "both, or neither" in page.inner_text("#options-fault")
    page.fill("#budget-page", "4")
    page.click("#add-filter")
    page.keyboard.type("file_name")
    page.fill(".filter-value", "pumps.pdf")
    page.fill("#filter-json", "{")
    page.click("#search-button")
    assert "not JSON" in page.inner_text("#options-fault")
    page.fill("#filter-json", "")
    page.click("#search-button")
    page.wait_for_selector(".hit")

    assert bodies == [
        {
            "question": "pump or valve",
            "channels": ["text"],
            "k": 2,
            "rerank": False,
            "budget": [3, 4],
            "filter": {"file_name": "pumps.pdf"},
        }
    ]
    titles = page.locator(".hit .hit-title").all_inner_texts()
    assert titles and all(title.startswith("pumps.pdf") for title in titles)
    assert "text" in page.inner_text(".hit >> nth=0 >> .scores")
    assert page.locator("#answer").is_hidden() and page.locator("#think-label").is_hidden()


def test_the_think_dial_is_there_where_the_reranker_thinks(server, open_page):
    page = open_page(server.url)

    def with_thinking(route):
        route.fulfill(json=[one | {"thinks": True} for one in route.fetch().json()])

    page.route("**/api/collections", with_thinking)
    page.route(
        "**/search", lambda route: route.fulfill(json={"candidates": [], "notes": [], "reranked": True})
    )
    page.reload()
    page.click("#options summary")
    page.fill("#think", "64")
    page.fill("#question", "pump")
    with page.expect_request("**/search") as asked:
        page.click("#search-button")
    assert asked.value.post_data_json["think_tokens"] == 64
    page.uncheck("#rerank")
    with page.expect_request("**/search") as asked:
        page.click("#search-button")
    assert "think_tokens" not in asked.value.post_data_json  # nothing is thought without a second look


def test_what_the_server_refuses_is_told_in_its_words(server, open_page):
    page = open_page(server.url, allows=("422",))
    page.click("#options summary")
    page.fill("#filter-json", '{"year": {"$like": 1}}')
    page.fill("#question", "anything")
    page.click("#ask-button")
    page.wait_for_selector("#fault:has-text('$like')")
    assert page.locator("#progress").is_hidden()


# ---- an answer as it comes -------------------------------------------------------------------------


def test_an_answer_is_shown_as_it_comes_and_can_be_stopped(server, open_page, monkeypatch):
    gate = threading.Event()
    qa = server.app._app.state.parts.collections.get("diary")
    whole = qa.astream

    async def slow(question, **options):
        yield "The first words"
        while not gate.is_set():
            await asyncio.sleep(0.02)
        async for piece in whole(question, **options):
            yield piece

    monkeypatch.setattr(qa, "astream", slow, raising=False)
    page = open_page(server.url)
    page.fill("#question", QUESTION)
    page.click("#ask-button")
    page.wait_for_selector("#answer:has-text('The first words')")
    assert page.locator("#progress").is_visible() and page.locator(".card").count() == 0
    page.click("#stop")
    page.wait_for_selector("#progress", state="hidden")
    assert page.inner_text("#spoken") == "Stopped."
    page.click("#ask-button")
    page.wait_for_selector("#answer:has-text('The first words')")
    gate.set()
    page.wait_for_selector(".card")
    assert "The first words" not in page.inner_text("#answer")


# ---- the document around the marks ------------------------------------------------------------------


def test_the_document_is_saved_with_its_marks(server, open_page, tmp_path):
    page = open_page(server.url)
    ask(page, QUESTION)
    page.click(".card >> nth=0")
    wait_for_picture(page)
    with page.expect_download() as download:
        page.click("text=PDF with marks")
    assert download.value.suggested_filename == "pumps-marked.pdf"
    download.value.save_as(tmp_path / "marked.pdf")
    with pymupdf.open(tmp_path / "marked.pdf") as document:
        cited_page = document[1]
        [annotation] = cited_page.annots()
        assert annotation.type[1] == "Highlight" and document.page_count == 3


def test_a_heat_map_is_laid_over_the_page_with_what_it_shows(server, open_page):
    page = open_page(server.url)
    ask(page, QUESTION)
    page.click(".card >> nth=0")
    wait_for_picture(page)
    assert page.locator(".heat").count() == 0
    page.click("text=Heat map")
    note = page.locator(".viewer-message:not([hidden])").first
    note.wait_for()
    assert note.inner_text()
    assert page.get_attribute("button:has-text('Heat map')", "aria-pressed") == "true"
    page.click("text=Heat map")
    page.wait_for_function("() => document.querySelectorAll('.heat').length === 0")
    assert page.locator(".viewer-message:not([hidden])").count() == 0


def test_everything_is_reached_by_the_keyboard(server, open_page):
    page = open_page(server.url)
    page.wait_for_selector("#welcome:not([hidden])")

    def focus():
        return page.evaluate("document.activeElement.id || document.activeElement.className")

    page.keyboard.press("Tab")
    assert focus() == "skip"
    page.keyboard.press("/")
    assert focus() == "question"
    page.keyboard.type(QUESTION)
    page.keyboard.press("Enter")
    page.wait_for_selector(".card")
    assert focus() == "question"  # the answer is spoken; nothing is taken from who writes on
    order = []
    for _ in range(6):
        page.keyboard.press("Tab")
        order.append(focus())
    assert order[:2] == ["ask-button", "search-button"] and order[-1] == "card"
    assert any("citation-number" in one for one in order)
    page.keyboard.press("Enter")
    wait_for_picture(page)
    assert focus() == "page-scroller" and "page 2 of 3" in page.inner_text(".viewer-title")
    assert page.get_attribute(".page-frame img", "alt").count("41 hours") >= 1

    def turn(key, title):
        page.keyboard.press(key)
        page.wait_for_selector(f".viewer-title:has-text('{title}')")
        wait_for_picture(page)

    turn("n", "page 3 of 3")
    assert page.locator(".page-frame .mark").count() == 0
    turn("ArrowLeft", "page 2 of 3")
    assert page.locator(".page-frame .mark").count() >= 1  # they belong to their page
    turn("p", "page 1 of 3")
    page.keyboard.press("Escape")
    assert page.locator("#viewer").is_hidden() and "card" in focus()
    page.keyboard.press("1")
    wait_for_picture(page)
    page.go_back()
    page.wait_for_selector("#viewer", state="hidden")
    assert page.locator(".card").count() >= 1  # the answer is still there


# ---- looks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 480, 1000])
def test_nothing_is_wider_than_the_window(server, open_page, scheme, width):
    page = open_page(server.url, color_scheme=scheme, viewport={"width": width, "height": 640})

    def check():
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width

    page.click("#options summary")
    page.click("#add-filter")
    check()
    ask(page, QUESTION)
    check()
    page.click(".card >> nth=0")
    wait_for_picture(page)
    check()
    assert page.locator(".mark").last.is_visible()
    assert page.evaluate("document.getElementById('main').inert") == (width <= 900)
    page.keyboard.press("Escape")
    page.click("#show-documents")
    page.wait_for_selector(".document")
    check()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(server, open_page, scheme):
    page = open_page(server.url, color_scheme=scheme)
    names = ("ground", "surface", "wash", "ink", "soft", "accent", "fault", "on-accent")
    read = "name => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim()"
    colours = {name: page.evaluate(read, name) for name in names}

    def luminance(colour):
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one, other):
        light, dark = sorted((luminance(colours[one]), luminance(colours[other])), reverse=True)
        return (light + 0.05) / (dark + 0.05)

    for ground in ("ground", "surface", "wash"):
        for text in ("ink", "soft", "accent", "fault"):
            assert contrast(text, ground) >= 4.5, (text, ground)
    assert contrast("on-accent", "accent") >= 4.5


# ---- keys -------------------------------------------------------------------------------------------


def test_a_key_is_asked_for_kept_in_its_tab_and_sent_with_every_picture(start_server, index, open_page):
    url = start_server({"diary": index}, with_keys=[KEY], read_only=True).url
    page = open_page(url, allows=("401",))
    page.wait_for_selector("#key-dialog[open]")
    for key in ("a-key-nobody-has-given", KEY):
        page.fill("#key", key)
        page.keyboard.press("Enter")
        page.wait_for_selector("#key-fault:not([hidden])" if key != KEY else "#welcome:not([hidden])")
    ask(page, QUESTION)
    page.click(".card >> nth=0")
    wait_for_picture(page)
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    assert KEY not in page.url
    page.reload()
    wait_for_picture(page)
    other = open_page(page.url, allows=("401",))
    other.wait_for_selector("#key-dialog[open]")
    other.fill("#key", KEY)
    other.keyboard.press("Enter")
    wait_for_picture(other)
    assert other.locator(".page-frame .mark").count() >= 1
