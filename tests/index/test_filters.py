"""The filter language: by hand, refusals, and Python against SQL over random filters."""

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmrag.index.filters import kind_of, matches, metadata_values, to_sql, validate

BOOK = {"file": "a.pdf", "page": 3, "scanned": True, "names": ("a.pdf", "b.pdf"), "score": 0.5}


@pytest.mark.parametrize(
    ("filter", "passes"),
    [
        ({}, True),
        (None, True),
        ({"file": "a.pdf"}, True),
        ({"file": "A.pdf"}, False),
        ({"file": {"$eq": "a.pdf"}, "page": 3}, True),
        ({"file": "a.pdf", "page": 4}, False),
        ({"page": {"$gte": 3, "$lt": 10}}, True),
        ({"page": {"$gt": 3}}, False),
        ({"page": 3.0}, True),
        ({"page": "3"}, False),
        ({"page": {"$gt": "1"}}, False),
        ({"scanned": True}, True),
        ({"scanned": 1}, False),
        ({"page": {"$in": [1, True, 3]}}, True),
        ({"scanned": {"$in": [1, 0]}}, False),
        ({"page": {"$in": []}}, False),
        ({"page": {"$nin": []}}, True),
        ({"page": {"$nin": [3]}}, False),
        ({"missing": "x"}, False),
        ({"missing": {"$ne": "x"}}, True),
        ({"missing": {"$nin": ["x"]}}, True),
        ({"missing": {"$lt": 10}}, False),
        ({"$not": {"missing": {"$lt": 10}}}, True),
        ({"names": "b.pdf"}, True),
        ({"names": {"$ne": "b.pdf"}}, False),
        ({"names": {"$gt": "a.z"}}, True),
        ({"$or": [{"page": 9}, {"file": "a.pdf"}]}, True),
        ({"$and": [{"page": 3}, {"file": "b.pdf"}]}, False),
        ({"$not": {"page": 3, "file": "b.pdf"}}, True),
    ],
)
def test_meaning_by_hand(filter, passes):
    validate(filter)
    assert matches(filter, BOOK) is passes
    assert passing_in_sql(filter, [BOOK]) == ([0] if passes else [])


def test_operators_on_several_values_are_judged_one_by_one():
    assert matches({"n": {"$gt": 2, "$lt": 5}}, {"n": (1, 9)})


@pytest.mark.parametrize(
    ("filter", "words"),
    [
        ({"page": {"$gte ": 3}}, r"unknown filter operator '\$gte ' for key 'page'. Did you mean '\$gte'"),
        ({"$nor": [{"a": 1}]}, r"unknown filter operator '\$nor' between filters. Did you mean '\$or'"),
        ({"page": {"$not": {"$gt": 3}}}, r"\$not stands between filters, not under a key"),
        ({"$or": []}, r"\$or takes a list of at least one filter, got \[\]"),
        ({"$and": {"a": 1}}, r"\$and takes a list"),
        ({"page": {}}, "condition on key 'page' is empty"),
        ({"page": [1, 2]}, r"Use \{'page': \{'\$in': \[...\]\}\}"),
        ({"page": {"$in": 3}}, r"\$in for key 'page' takes a list, got 3"),
        ({"page": {"$in": [None]}}, "must be a string, a number or a boolean, got None"),
        ({"page": {"$gt": None}}, "must be a string, a number or a boolean, got None"),
        ({"page": {"$gt": True}}, r"\$gt for key 'page' takes a number or a string, got True"),
        ({"page": float("nan")}, "must be a finite number"),
        ({"page": 2**63}, "must fit in 64 bits"),
        ({"page": "\ud800"}, "no lone surrogates"),
        ({"": 1}, "a metadata key must be non-empty text"),
        ({3: 1}, "a filter's keys must be strings, got 3"),
        ({"$or": [{"a": n} for n in range(501)]}, "at most 500 conditions, got 501"),
        ({"a": {"$in": list(range(10_001))}}, "at most 10000 values, got 10001"),
    ],
)
def test_what_is_no_filter_is_refused(filter, words):
    with pytest.raises(ValueError, match=words):
        validate(filter)


def test_a_filter_is_a_dict():
    with pytest.raises(TypeError, match="a filter must be a dict, got 'page = 3'"):
        validate("page = 3")
    with pytest.raises(TypeError, match="a filter must be a dict, got 1"):
        validate({"$not": 1})


def test_too_deep_a_filter_is_refused():
    filter = {"a": 1}
    for _ in range(60):
        filter = {"$not": filter}
    with pytest.raises(ValueError, match="nested 10 deep"):
        validate(filter)


def test_largest_filters_run_in_sqlite():
    """The limits of the language stay within SQLite's own."""
    wide = {"$or": [{"a": n} for n in range(500)]}
    many = {"a": {"$in": list(range(10_000))}}
    deep = {"a": 1, "b": {"$ne": 2}}
    for level in range(9):
        deep = [{"$not": deep}, {"$or": [{"a": 3}, deep]}, {"$and": [{"a": {"$in": [499, "x"]}}, deep]}][
            level % 3
        ]
    for filter in (wide, many, deep):
        validate(filter)
        assert passing_in_sql(filter, [{"a": 499}, {"a": -1}]) == [
            i for i, metadata in enumerate([{"a": 499}, {"a": -1}]) if matches(filter, metadata)
        ]


def passing_in_sql(filter, metadatas):
    """Positions that pass, by the SQL that the store uses."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE records(seq INTEGER PRIMARY KEY)")
    connection.execute("CREATE TABLE metadata(seq, key TEXT, kind INTEGER, value)")
    for seq, metadata in enumerate(metadatas):
        connection.execute("INSERT INTO records VALUES (?)", (seq,))
        for key in metadata:
            for value in metadata_values(metadata, key):
                stored = int(value) if isinstance(value, bool) else value
                connection.execute(
                    "INSERT INTO metadata VALUES (?, ?, ?, ?)", (seq, key, kind_of(value), stored)
                )
    condition, parameters = to_sql(filter)
    rows = connection.execute(f"SELECT seq FROM records WHERE {condition or '1'} ORDER BY seq", parameters)
    return [row[0] for row in rows]


# few different values, so that they meet; kinds that are easily confused, and the ends of the ranges
scalars = st.one_of(
    st.sampled_from(
        [True, False, 0, 1, 2, -1, 1.0, 0.5, -0.0, "", "1", "a", "b", "B", "é", "e\u0301", "a\x00b"]
    ),
    st.sampled_from([2**63 - 1, -(2**63), 2.0**63, 1e300, 2**53 + 1, float(2**53)]),
    st.integers(-3, 3),
    st.text(max_size=2).filter(lambda text: text.isprintable()),
)
orderable = scalars.filter(lambda value: not isinstance(value, bool))
keys = st.sampled_from(["a", "b", "c", "ключ", "x.y"])
metadatas = st.dictionaries(keys, st.one_of(scalars, st.lists(scalars, max_size=3).map(tuple)), max_size=4)
operators = st.one_of(
    st.fixed_dictionaries({}, optional={"$eq": scalars | st.none(), "$ne": scalars | st.none()}),
    st.fixed_dictionaries({}, optional={"$contains": scalars, "$not_contains": scalars}),
    st.fixed_dictionaries(
        {}, optional={"$in": st.lists(scalars, max_size=4), "$nin": st.lists(scalars, max_size=4)}
    ),
    st.fixed_dictionaries(
        {}, optional={"$gt": orderable, "$gte": orderable, "$lt": orderable, "$lte": orderable}
    ),
).filter(bool)
conditions = st.dictionaries(keys, st.one_of(scalars, st.none(), operators), max_size=3)
filters = st.recursive(
    conditions,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"$and": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"$or": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"$not": inner}),
        st.tuples(inner, conditions).map(lambda pair: {**pair[0], **pair[1]}),
    ),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(filters, st.lists(metadatas, min_size=1, max_size=6))
def test_python_and_sql_agree(filter, metadata):
    validate(filter)
    expected = [position for position, one in enumerate(metadata) if matches(filter, one)]
    assert passing_in_sql(filter, metadata) == expected
