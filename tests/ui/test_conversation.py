"""Questions on the page that lean on those before them."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from .conftest import ask

QUESTION = "How long did pump B run in March?"


def test_a_question_leans_on_the_one_before_until_the_conversation_starts_anew(server, open_page):
    page = open_page(server.url)
    bodies = []
    page.on(
        "request",
        lambda request: bodies.append(request.post_data_json) if request.url.endswith("/ask") else None,
    )
    ask(page, QUESTION)
    first = page.inner_text("#answer .answer-text")
    assert page.locator("#talk details").count() == 0  # nothing is earlier than what is shown
    page.fill("#question", "And in April?")
    page.click("#ask-button")
    page.wait_for_selector("#answer:has-text('Searched:')")
    assert "pump" in page.inner_text("#answer .note >> nth=0")
    page.click("#talk summary")
    assert page.inner_text(".asked") == QUESTION and "41 hours" in page.inner_text(".answered")
    assert "41 hours" in first

    page.click("text=New conversation")
    assert page.locator("#talk").is_hidden()
    assert page.evaluate("document.activeElement.id") == "question"
    ask(page, QUESTION)
    histories = [[message["role"] for message in body["history"]] for body in bodies]
    assert histories == [[], ["user", "assistant"], []]
    assert bodies[1]["history"][0]["content"] == QUESTION


def test_a_search_leans_on_nothing_and_a_reload_forgets(server, open_page):
    page = open_page(server.url)
    ask(page, QUESTION)
    bodies = []
    page.on("request", lambda request: bodies.append(request.post_data_json) if request.post_data else None)
    page.fill("#question", "valve")
    page.click("#search-button")
    page.wait_for_selector(".hit")
    assert bodies == [{"question": "valve"}]
    page.click("#talk summary")  # no answer stands below: the list has all
    assert page.inner_text(".asked") == QUESTION
    page.reload()
    page.wait_for_selector("#welcome:not([hidden])")
    assert page.locator("#talk").is_hidden()


def test_what_was_said_of_other_documents_does_not_go_along(start_server, index, tmp_path, open_page):
    page = open_page(start_server({"diary": index, "other": tmp_path / "other"}).url)
    ask(page, QUESTION)
    assert page.locator("#talk").is_visible()
    page.select_option("#collection", "other")
    page.wait_for_selector("#talk", state="hidden")


def test_who_asks_before_the_page_knows_its_collections_is_answered(server, open_page):
    page = open_page(server.url)
    held = []
    page.route("**/api/collections", lambda route: held.append(route))
    page.reload(wait_until="domcontentloaded")
    page.fill("#question", QUESTION)
    while not held:
        page.wait_for_timeout(20)
    page.click("#ask-button")
    held[0].continue_()
    page.wait_for_selector("#answer h2", state="attached")
    assert "41 hours" in page.inner_text("#answer")
    assert page.input_value("#question") == QUESTION  # opening the page took nothing from who typed


def test_a_link_to_a_follow_up_holds_the_question_that_stands_alone(server, open_page):
    page = open_page(server.url)
    ask(page, QUESTION)
    page.fill("#question", "And in April?")
    page.click("#ask-button")
    page.wait_for_selector("#answer:has-text('Searched:')")
    searched = page.inner_text("#answer .note q")
    assert "pump" in searched and question_of(page.url) == searched
    assert page.input_value("#question") == "And in April?"  # what was typed stays
    page.click("#hits button.hit-title >> nth=0")
    page.wait_for_selector("#viewer:not([hidden])")
    assert question_of(page.url) == searched

    page.go_back()  # to the answer of the follow-up
    page.wait_for_selector("#viewer", state="hidden")
    assert page.inner_text("#answer .note q") == searched

    other = open_page(page.url)
    other.wait_for_selector("#welcome:not([hidden])")
    assert other.input_value("#question") == searched


def question_of(url: str) -> str:
    """Return the question that a link holds."""
    return parse_qs(urlsplit(url).fragment)["q"][0]
