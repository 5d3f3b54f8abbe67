"""How inputs become tokens; the tiny tokenizer has one token a byte, so a template can be read."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from mmrag.models.inputs import Item
from mmrag.models.prompt import MARKS, TURN_END, Prompts, PromptTemplate
from mmrag.models.tiny import SPECIAL_TOKENS, byte_tokenizer

PROMPTS = Prompts(query="Find it.", document="Read it.", query_prefix="Query: ")
TOKENIZER = byte_tokenizer()
PLACEHOLDER = "<|image_pad|>"
IMAGE = "<|vision_start|>" + PLACEHOLDER * 3 + "<|vision_end|>"


def template(max_tokens: int = 4096, prompts: Prompts = PROMPTS) -> PromptTemplate:
    return PromptTemplate(TOKENIZER, prompts, max_tokens, PLACEHOLDER)


def read(ids) -> str:
    return TOKENIZER.decode(ids, skip_special_tokens=False)


def picture():
    """What stands for an image here: anything that is no text."""
    return object()


def test_a_document_and_a_query_by_eye():
    document = template().tokenize(Item((picture(), "Total 7"), "Read it."), "document", [IMAGE])
    assert read(document.ids) == (f"<|im_start|>user\nRead it.\n{IMAGE}\nTotal 7<|im_end|><|endoftext|>")
    query = template().tokenize(Item((picture(), "How much?"), "Find it.", "A sum."), "query", [IMAGE])
    assert read(query.ids) == (
        f"<|im_start|>user\nFind it.\n{IMAGE}\nQuery: How much?\nA sum.<|im_end|><|endoftext|>"
    )
    assert not document.cut and not query.cut


def test_parts_keep_their_order_and_the_prefix_comes_once():
    item = Item(("one", picture(), "two", picture()))
    tokens = template().tokenize(item, "query", ["<img>", "</img>"])
    assert read(tokens.ids) == ("<|im_start|>user\nQuery: one\n<img>\ntwo\n</img><|im_end|><|endoftext|>")


def test_nothing_at_all_is_the_empty_turn():
    assert read(template().tokenize(Item(()), "document", []).ids) == f"<|im_start|>user\n{TURN_END}"


@given(st.lists(st.sampled_from([*SPECIAL_TOKENS, "a", " ", "\n", "<", "|>"]), max_size=8).map("".join))
@settings(max_examples=60)
def test_a_callers_text_is_never_markup(text):
    """Bug guarded: a page on which <|image_pad|> is printed took a visual token's place."""
    item = Item((picture(), text), text, text)
    ids = template().tokenize(item, "query", [IMAGE]).ids
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
    ids = template().tokenize(Item((text,)), "document", []).ids
    assert read(ids) == f"<|im_start|>user\n{shown}{TURN_END}"


@pytest.mark.parametrize("most", [40, 57, 100])
def test_a_long_text_is_cut_at_its_end_and_nothing_else_is(most):
    whole = "0123456789" * 30
    tokens = template(most).tokenize(Item((picture(), whole), "Read it."), "document", [IMAGE])
    assert len(tokens.ids) == most and tokens.cut
    text = read(tokens.ids).removeprefix(f"<|im_start|>user\nRead it.\n{IMAGE}\n").removesuffix(TURN_END)
    one_letter = template().tokenize(Item((picture(), "x"), "Read it."), "document", [IMAGE])
    assert whole.startswith(text) and len(text) == most - len(one_letter.ids) + 1


def test_a_text_that_just_fits_is_whole():
    tokens = template().tokenize(Item(("x" * 50,)), "document", [])
    exact = template(len(tokens.ids)).tokenize(Item(("x" * 50,)), "document", [])
    assert exact == tokens and not exact.cut
    assert template(len(tokens.ids) - 1).tokenize(Item(("x" * 50,)), "document", []).cut


@pytest.mark.parametrize(("text", "thought"), [(500, 500), (500, 10), (10, 500), (30, 30)])
def test_text_and_thought_share_the_room(text, thought):
    """Each has half of it, or what the other leaves."""
    tokens = template(113).tokenize(Item(("A" * text,), "", "B" * thought), "document", [])
    room = 113 - len("user\n\n") - 3
    words, thoughts = (read(tokens.ids).count(letter) for letter in "AB")
    assert words + thoughts == min(room, text + thought)
    assert words == min(text, max(room - thought, room - room // 2))
    assert tokens.cut == (text + thought > room)


def test_several_texts_are_one_text_when_cut():
    tokens = template(60).tokenize(Item(("a" * 30, "b" * 30, "c" * 30)), "document", [])
    body = read(tokens.ids).removeprefix("<|im_start|>user\n").removesuffix(TURN_END)
    assert body == "a" * 30 + "\n" + "b" * 20 + "\n"
    assert len(tokens.ids) == 60


def test_what_cannot_be_cut_and_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"instruction and images must fit max_tokens=50, got 1\d\d tokens"):
        template(50).tokenize(Item(("x",), "i" * 100), "document", [])
    with pytest.raises(ValueError, match="Give fewer images"):
        template(50).tokenize(Item((picture(),)), "document", [PLACEHOLDER * 100])


def test_a_book_is_not_tokenised_to_its_end(monkeypatch):
    """The work on a text is bounded by what is kept of it."""
    made = template(100)
    seen = []
    real = made._plain

    class Watching:
        def encode(self, text, **how):
            seen.append(len(text))
            return real.encode(text, **how)

    monkeypatch.setattr(made, "_plain", Watching())
    assert made.tokenize(Item(("word " * 1_000_000,)), "document", []).cut
    assert sum(seen) <= 100_000


@pytest.mark.parametrize("mark", [*MARKS, PLACEHOLDER])
def test_a_tokenizer_that_cannot_tell_marks_from_text_is_refused(mark):
    tokenizer = byte_tokenizer()
    backend = tokenizer.backend_tokenizer.to_str().replace(f'"content":"{mark}"', '"content":"<other>"')
    unknown = type("T", (), {"backend_tokenizer": type("B", (), {"to_str": lambda self: backend})()})()
    with pytest.raises(ValueError, match=r"must know .* as a special token"):
        PromptTemplate(unknown, PROMPTS, 100, PLACEHOLDER)


def test_a_mark_that_is_not_special_is_refused():
    """Bug guarded: tokenizers split out only marks that are flagged as special."""
    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.add_tokens([AddedToken("<plain>", special=False)])
    with pytest.raises(ValueError, match="must know <plain> as a special token"):
        PromptTemplate(tokenizer, PROMPTS, 100, "<plain>")
