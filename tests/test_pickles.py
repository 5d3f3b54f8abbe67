"""What may go to another process: errors and results, whole and without secrets; an open index may not."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from mmrag import DocumentQA, MemoryIndex, ReaderSettings, errors
from mmrag.errors import MMRagError

ARGUMENTS = {
    "MissingExtraError": ("OCR", "ocr"),
    "PageError": ("page 3 is damaged", 2),
    "BadInputError": ("document", 4, "it is empty"),
    "IndexDamagedError": ("record 'a' is damaged", "record", "a"),
    "ServerStatusError": ("the server answered 503", 503, "overloaded"),
    "ServerAnswerError": ("no JSON", "<html>"),
}


def kinds() -> list[type[MMRagError]]:
    """Every exception of the tree."""
    values = vars(errors).values()
    return [value for value in values if isinstance(value, type) and issubclass(value, MMRagError)]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_every_error_comes_back_whole(kind) -> None:
    error = kind(*ARGUMENTS.get(kind.__name__, ("what is wrong",)))
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.args, vars(again)) == (kind, str(error), error.args, vars(error))


def test_an_error_of_a_subclass_with_arguments_of_its_own_does_too() -> None:
    again = pickle.loads(pickle.dumps(Peculiar(one=1, two=2)))
    assert (str(again), again.two) == ("1 of 2", 2)


class Peculiar(errors.ServerError):
    def __init__(self, *, one: int, two: int) -> None:
        self.two = two
        super().__init__(f"{one} of {two}")


def test_results_come_back_equal(embedder, make_pdf, tmp_path: Path) -> None:
    reader = ReaderSettings(ocr="off", workers=1)
    index = MemoryIndex.for_embedder(embedder)
    with DocumentQA(index, embedder=embedder, reader=reader, reranker=None, password="hunter2") as qa:
        report = qa.add([make_pdf(tmp_path / "tea.pdf", ["Green tea is steeped at 80 degrees."]), "missing"])
        answer = qa.ask("How hot should green tea be?")
        assert answer.citations
        for result in (report, qa.status(), answer, answer.ranking, answer.citations[0]):
            data = pickle.dumps(result)
            assert pickle.loads(data) == result
            assert b"hunter2" not in data
            assert "hunter2" not in repr(result)
        assert pickle.loads(pickle.dumps(answer)).citations[0].picture == answer.citations[0].picture
        assert replace(answer) == answer


def test_an_open_index_is_refused_and_shows_no_secret(embedder, tmp_path: Path) -> None:
    with DocumentQA.open(tmp_path / "index", embedder=embedder, password="hunter2") as qa:
        assert str(tmp_path / "index") in repr(qa)
        assert "hunter2" not in repr(qa)
        with pytest.raises(TypeError, match="must stay in its process"):
            pickle.dumps(qa)
