"""What a screen reader is told: roles and names in Chromium's accessibility tree, the order of the focus."""

from __future__ import annotations

import pytest

from .conftest import ask, wait_for_picture

QUESTION = "How long did pump B run in March?"
KEY = "a-key-that-opens-everything"
CONTROLS = {
    "button",
    "textbox",
    "searchbox",
    "spinbutton",
    "checkbox",
    "combobox",
    "link",
    "DisclosureTriangle",
}
"""Roles of what can be worked with, as Chromium names them."""

FOCUSED = """() => {
  const element = document.activeElement;
  if (element === document.body) return null;
  const all = [...document.querySelectorAll("*")];
  const style = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  return {
    place: all.indexOf(element),
    seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    within: box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth,
  };
}"""


def tree(page) -> list[tuple[str, str, bool]]:
    """Role, name, and whether it takes the focus, of every node that is told, in reading order."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    by_id = {node["nodeId"]: node for node in nodes}
    told = []

    def walk(node):
        if not node["ignored"]:
            focusable = any(
                one["name"] == "focusable" and one["value"]["value"] for one in node.get("properties", ())
            )
            told.append((node["role"]["value"], node.get("name", {}).get("value", "").strip(), focusable))
        for child in node.get("childIds", ()):
            if child in by_id:
                walk(by_id[child])

    walk(nodes[0])
    return told


def controls(page) -> list[tuple[str, str]]:
    """Role and name of what can be worked with or takes the focus."""
    return [
        (role, name)
        for role, name, focusable in tree(page)
        if role in CONTROLS or (focusable and role not in ("RootWebArea", "option"))
    ]


def visible_words_are_in_the_name(page) -> list[str]:
    """Return the buttons that show words which their name lacks: nobody can call them by what they show."""
    script = """() => [...document.querySelectorAll("button[aria-label]")]
      .filter(b => b.checkVisibility() && /[a-z0-9]/i.test(b.textContent))
      .filter(b => !b.getAttribute("aria-label").toLowerCase().includes(b.textContent.trim().toLowerCase()))
      .map(b => b.textContent + " / " + b.getAttribute("aria-label"))"""
    return page.evaluate(script)


def check(page) -> list[tuple[str, str]]:
    """Every control has a name, which holds the words that it shows."""
    found = controls(page)
    assert [role for role, name in found if not name] == []
    assert visible_words_are_in_the_name(page) == []
    return found


def test_every_control_has_a_role_and_a_name_wherever_the_page_is(writing_server, server, open_page):
    page = open_page(writing_server.url)
    page.wait_for_selector("#welcome:not([hidden])")
    told = check(page)
    assert told[:6] == [
        ("link", "To the question"),
        ("combobox", "Collection"),
        ("button", "Documents (0)"),
        ("textbox", "Question"),
        ("button", "Ask"),
        ("button", "Search"),
    ]
    page.click("#options summary")
    page.click("#add-filter")
    told = check(page)
    assert {
        ("spinbutton", "Pages"),
        ("checkbox", "pictures and vectors"),
        ("checkbox", "rerank the first pages"),
        ("spinbutton", "of the question"),
        ("spinbutton", "of a page"),
        ("textbox", "Field"),
        ("combobox", "Comparison"),
        ("textbox", "Value"),
        ("textbox", "or, as JSON"),
    } <= set(told)
    groups = {name for role, name, _ in tree(page) if role == "group"}
    assert {"Found by", "Second look", "Budget, rows compared", "Only pages where"} <= groups
    page.click("#show-documents")
    page.wait_for_selector("#upload:not([hidden])")
    told = check(page)
    assert ("dialog", "Documents") in {(role, name) for role, name, _ in tree(page)}
    assert ("button", "Close") in told and ("button", "Ask") not in told  # what lies behind is not told

    page = open_page(server.url)
    ask(page, QUESTION)
    page.click("#hits summary")
    told = check(page)
    assert ("button", "Citation 1, pumps.pdf, page 2 of 3") in told
    assert ("button", "New conversation") in told
    roles = [role for role, _, _ in tree(page)]
    assert {"banner", "main", "search", "status", "meter"} <= set(roles) and "list" in roles
    page.click(".card >> nth=0")
    wait_for_picture(page)
    told = check(page)
    assert ("region", "Page") in told
    names = {name for role, name in told if role == "button"}
    assert {
        "Heat map",
        "PDF with marks",
        "Copy link",
        "Previous page (p)",
        "100 %, fit the width (0)",
    } <= names
    [alt] = [name for role, name, _ in tree(page) if role == "image" and name.startswith("Picture of")]
    assert "pumps.pdf, page 2 of 3" in alt and "41 hours" in alt
    assert ("complementary", "Document") in {(role, name) for role, name, _ in tree(page)}


def test_the_key_is_asked_for_by_name(start_server, index, open_page):
    page = open_page(start_server({"diary": index}, with_keys=[KEY], read_only=True).url, allows=("401",))
    page.wait_for_selector("#key-dialog[open]")
    assert check(page)[-2:] == [("textbox", "Key"), ("button", "Open")]
    assert ("dialog", "This server asks for a key") in {(role, name) for role, name, _ in tree(page)}


@pytest.mark.parametrize("width", [1280, 480])
def test_the_focus_goes_in_reading_order_is_seen_and_is_never_caught(server, open_page, width):
    page = open_page(server.url, viewport={"width": width, "height": 720})
    ask(page, QUESTION)
    page.click(".card >> nth=0")
    wait_for_picture(page)

    def tab():
        page.keyboard.press("Tab")
        return page.evaluate(FOCUSED)

    presses = iter(range(80))
    while tab() is not None:  # on to the end, where the browser's own controls would be next
        next(presses)
    places = []
    while (focus := tab()) is not None:
        next(presses)
        assert focus["seen"] and focus["within"]
        places.append(focus["place"])
    assert places == sorted(places) and len(places) > 8
    expected = page.evaluate("""() => [...document.querySelectorAll(
        "a[href], button:not(:disabled), input, textarea, select, summary, [tabindex='0']")]
      .filter(e => e.checkVisibility() && !e.closest("[inert]"))
      .filter(e => !e.closest("details:not([open])") || e.tagName === "SUMMARY").length""")
    assert len(places) == expected  # all of them, none twice
