"""Laws of reading an answer that is still coming: cuts do not matter, and the end is what JSON says."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmrag.serving.partial_json import StringField, ThoughtFilter, replace_surrogates

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda x: st.lists(x) | st.dictionaries(st.text(), x),
)


def pieces(text: str, cuts: list[int]) -> list[str]:
    edges = [0, *sorted(c % (len(text) + 1) for c in cuts), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(edges)]


def test_the_field_comes_as_it_is_written():
    field = StringField("answer")
    given_pieces = [
        '{"answera',
        'ble": true, "ans',
        'wer": "Net',
        " sa\\",
        "nles \\u00",
        'e9"',
        ', "x": "y"}',
    ]
    assert [field.feed(p) for p in given_pieces] == ["", "", "Net", " sa", "\nles ", "é", ""]


@given(
    answer=st.text(),  # without lone surrogates: the law below is theirs
    before=st.dictionaries(st.text().filter(lambda k: k != "answer"), JSON, max_size=3),
    after=st.dictionaries(st.text().filter(lambda k: k != "answer"), JSON, max_size=3),
    cuts=st.lists(st.integers(0, 10_000), max_size=8),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 2]),
)
def test_what_is_streamed_is_what_json_says(answer, before, after, cuts, ascii_only, indent):
    text = json.dumps({**before, "answer": answer, **after}, ensure_ascii=ascii_only, indent=indent)
    field = StringField("answer")
    assert "".join(field.feed(piece) for piece in pieces(text, cuts)) == json.loads(text)["answer"]


@pytest.mark.parametrize(
    "escapes", ["\\ud83d\\ude00", "\\ud83d", "\\ude00", "a\\ud83db", "\\ud83d\\ud83d\\ude00", "\\ud83d\\n"]
)
def test_lone_surrogates_become_the_replacement_character(escapes):
    text = f'{{"answer": "{escapes}"}}'
    assert StringField("answer").feed(text) == replace_surrogates(json.loads(text)["answer"])


def test_an_inner_field_of_that_name_is_not_shown():
    text = '{"citations": [{"answer": "no"}], "x": {"answer": "no"}, "answer": "yes", "y": "answer"}'
    assert StringField("answer").feed(text) == "yes"


@pytest.mark.parametrize(
    ("content", "rest"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ('\n ```json\n{"a": 1}\n```', '```json\n{"a": 1}\n```'),
        ('<think>so {"answer": "no"}</think>\n{"a": 1}', '\n{"a": 1}'),
        ('so {"answer": "no"}</think>{"a": 1}', '{"a": 1}'),  # the template wrote <think>
        ('{"a": "</think>"}', '{"a": "</think>"}'),
        ("<think>no end", ""),
        ("plain words", ""),
        ("", ""),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_thought_is_never_part_of_the_rest(content, rest, size):
    reader = ThoughtFilter()
    out = "".join(reader.feed(content[i : i + size]) for i in range(0, len(content), size))
    assert out == reader.rest == rest
    assert reader.raw == content
    assert reader.in_thought == (content == "<think>no end")
