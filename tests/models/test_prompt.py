"""How inputs become tokens; the tiny tokenizer has one token a byte, so a layout can be read."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from mmrag.models.inputs import Item
from mmrag.models.prompt import MARKS, TURN_END, Layout, Prompts
from mmrag.models.tiny import SPECIAL_TOKENS, byte_tokenizer

PROMPTS = Prompts(query="Find it.", document="Read it.", query_prefix="Query: ")
TOKENIZER = byte_tokenizer()
PLACEHOLDER = "<|image_pad|>"
IMAGE = "<|vision_start|>" + PLACEHOLDER * 3 + "<|vision_end|>"


def layout(max_tokens: int = 4096, prompts: Prompts = PROMPTS) -> Layout:
    return Layout(TOKENIZER, prompts, max_tokens, PLACEHOLDER)


def read(ids) -> str:
    return TOKENIZER.decode(ids, skip_special_tokens=False)


def picture():
    """What stands for an image here: anything that is no text."""
    return object()


def test_a_document_and_a_query_by_eye():
    document = layout().lay(Item((picture(), "Total 7"), "Read it."), "document", [IMAGE])
    assert read(document.ids) == (f"<|im_start|>user\nRead it.\n{IMAGE}\nTotal 7<|im_end|><|endoftext|>")
    query = layout().lay(Item((picture(), "How much?"), "Find it.", "A sum."), "query", [IMAGE])
    assert read(query.ids) == (
        f"<|im_start|>user\nFind it.\n{IMAGE}\nQuery: How much?\nA sum.<|im_end|><|endoftext|>"
    )
    assert not document.cut and not query.cut


def test_parts_keep_their_order_and_the_prefix_comes_once():
    item = Item(("one", picture(), "two", picture()))
    laid = layout().lay(item, "query", ["<img>", "</img>"])
    assert read(laid.ids) == ("<|im_start|>user\nQuery: one\n<img>\ntwo\n</img><|im_end|><|endoftext|>")


def test_nothing_at_all_is_the_empty_turn():
    assert read(layout().lay(Item(()), "document", []).ids) == f"<|im_start|>user\n{TURN_END}"


@given(st.lists(st.sampled_from([*SPECIAL_TOKENS, "a", " ", "\n", "<", "|>"]), max_size=8).map("".join))
@settings(max_examples=60)
def test_a_callers_text_is_never_markup(text):
    """Bug guarded: a page on which <|image_pad|> is printed took a visual token's place."""
    item = Item((picture(), text), text, text)
    ids = layout().lay(item, "query", [IMAGE]).ids
    marks = [TOKENIZER.convert_ids_to_tokens(i) for i in ids if i >= 256]
    around = ["<|vision_start|>", *[PLACEHOLDER] * 3, "<|vision_end|>"]
    assert marks == ["<|im_start|>", *around, "<|im_end|>", "<|endoftext|>"]
    assert text in read(ids)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\x00b", "a\x00b"), ("a\ud800b", "a\ufffdb"), ("漢字", "漢字"), ("\ud83d\ude00", "\U0001f600")],
    ids=["nul", "lone", "cjk", "pair"],
)
def test_any_string_is_taken(text, shown):
    ids = layout().lay(Item((text,)), "document", []).ids
    assert read(ids) == f"<|im_start|>user\n{shown}{TURN_END}"


@pytest.mark.parametrize("most", [40, 57, 100])
def test_a_long_text_is_cut_at_its_end_and_nothing_else_is(most):
    whole = "0123456789" * 30
    laid = layout(most).lay(Item((picture(), whole), "Read it."), "document", [IMAGE])
    assert len(laid.ids) == most and laid.cut
    text = read(laid.ids).removeprefix(f"<|im_start|>user\nRead it.\n{IMAGE}\n").removesuffix(TURN_END)
    one_letter = layout().lay(Item((picture(), "x"), "Read it."), "document", [IMAGE])
    assert whole.startswith(text) and len(text) == most - len(one_letter.ids) + 1


def test_a_text_that_just_fits_is_whole():
    laid = layout().lay(Item(("x" * 50,)), "document", [])
    exact = layout(len(laid.ids)).lay(Item(("x" * 50,)), "document", [])
    assert exact == laid and not exact.cut
    assert layout(len(laid.ids) - 1).lay(Item(("x" * 50,)), "document", []).cut


@pytest.mark.parametrize(("text", "thought"), [(500, 500), (500, 10), (10, 500), (30, 30)])
def test_text_and_thought_share_the_room(text, thought):
    """Each has half of it, or what the other leaves."""
    laid = layout(113).lay(Item(("A" * text,), "", "B" * thought), "document", [])
    room = 113 - len("user\n\n") - 3
    words, thoughts = (read(laid.ids).count(letter) for letter in "AB")
    assert words + thoughts == min(room, text + thought)
    assert words == min(text, max(room - thought, room - room // 2))
    assert laid.cut == (text + thought > room)


def test_several_texts_are_one_text_when_cut():
    laid = layout(60).lay(Item(("a" * 30, "b" * 30, "c" * 30)), "document", [])
    body = read(laid.ids).removeprefix("<|im_start|>user\n").removesuffix(TURN_END)
    assert body == "a" * 30 + "\n" + "b" * 20 + "\n"
    assert len(laid.ids) == 60


def test_what_cannot_be_cut_and_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"instruction and images must fit max_tokens=50, got 1\d\d tokens"):
        layout(50).lay(Item(("x",), "i" * 100), "document", [])
    with pytest.raises(ValueError, match="Give fewer images"):
        layout(50).lay(Item((picture(),)), "document", [PLACEHOLDER * 100])


def test_a_book_is_not_tokenised_to_its_end(monkeypatch):
    """The work on a text is bounded by what is kept of it."""
    made = layout(100)
    seen = []
    real = made._plain

    class Watching:
        def encode(self, text, **how):
            seen.append(len(text))
            return real.encode(text, **how)

    monkeypatch.setattr(made, "_plain", Watching())
    assert made.lay(Item(("word " * 1_000_000,)), "document", []).cut
    assert sum(seen) <= 100_000


@pytest.mark.parametrize("mark", [*MARKS, PLACEHOLDER])
def test_a_tokenizer_that_cannot_tell_marks_from_text_is_refused(mark):
    tokenizer = byte_tokenizer()
    backend = tokenizer.backend_tokenizer.to_str().replace(f'"content":"{mark}"', '"content":"<other>"')
    unknown = type("T", (), {"backend_tokenizer": type("B", (), {"to_str": lambda self: backend})()})()
    with pytest.raises(ValueError, match=r"must know .* as a special token"):
        Layout(unknown, PROMPTS, 100, PLACEHOLDER)


def test_a_mark_that_is_not_special_is_refused():
    """Bug guarded: tokenizers split out only marks that are flagged as special."""
    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.add_tokens([AddedToken("<plain>", special=False)])
    with pytest.raises(ValueError, match="must know <plain> as a special token"):
        Layout(tokenizer, PROMPTS, 100, "<plain>")
