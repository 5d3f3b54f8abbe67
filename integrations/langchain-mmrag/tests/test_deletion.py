"""Deleting in the host's words: a string is one id, and what goes is what was named."""

from __future__ import annotations

from pathlib import Path

import pytest

from langchain_mmrag import MMRagVectorStore


@pytest.fixture
def letters(colours, home):
    with MMRagVectorStore(colours(), **home) as store:
        store.add_texts(["red", "green", "blue"], [{"n": 1}, {"n": 2}, {"n": 2}], ids=["a", "b", "ab"])
        yield store


def left(store: MMRagVectorStore) -> set[str]:
    return set(store.qa.index.ids())


def test_a_string_is_one_id(letters) -> None:
    assert [document.id for document in letters.get_by_ids("ab")] == ["ab"]
    letters.delete("ab")
    assert left(letters) == {"a", "b"}
    letters.delete("ab")  # is gone: nothing else goes in its place
    assert left(letters) == {"a", "b"}


@pytest.mark.parametrize("name", ["filter", "where"])
def test_by_filter_and_by_ids_that_pass_it(letters, name) -> None:
    letters.delete(["a", "b"], **{name: {"n": 2}})
    assert left(letters) == {"a", "ab"}
    letters.delete(**{name: {"n": {"$gte": 2}}})
    assert left(letters) == {"a"}
    letters.delete([])
    assert left(letters) == {"a"}
    letters.delete()
    assert left(letters) == set()


async def test_the_async_twin_does_the_same(letters) -> None:
    await letters.adelete(["ab"], filter={"n": 2})
    await letters.adelete(where={"n": 1})
    assert left(letters) == {"b"}


def test_a_file_or_a_folder_goes_and_comes_back(embeddings, tmp_path) -> None:
    (tmp_path / "in").mkdir()
    files = [_pdf(tmp_path / "one.pdf", "one"), _pdf(tmp_path / "in" / "two.pdf", "two")]
    with MMRagVectorStore(embeddings) as store:
        store.add_texts(["A text beside them."], ids=["text"])
        pages = [store.add_pdf(file) for file in files]
        store.delete(filter={"file_name": "one.pdf"})
        assert left(store) == {"text", *pages[1]}
        assert store.add_pdf(files[0]) == pages[0]
        store.delete(source="one.pdf")
        assert left(store) == {"text", *pages[1]}
        store.delete(source=tmp_path / "in")
        assert left(store) == {"text"} and not store.qa.status().documents
        with pytest.raises(ValueError, match="must be in the index, got"):
            store.delete(source=tmp_path / "nothing.pdf")


def _pdf(path: Path, text: str) -> Path:
    import pymupdf

    with pymupdf.open() as document:
        document.new_page().insert_text((72, 90), f"The page of {text}.")
        document.save(path)
    return path
