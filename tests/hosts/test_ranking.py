"""What a host found, as a ranking and back."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from mmrag.documents import DocumentReader, discover
from mmrag.hosts.items import HostItem
from mmrag.hosts.pages import PageDrawer, PicturedPage
from mmrag.hosts.ranking import item_position, judgement, ranking_of
from mmrag.hosts.rerankers import host_reranker, needs_images, ready_reranker
from mmrag.rerank import ThinkReranker
from mmrag.rerank.local import LocalReranker
from mmrag.rerank.ordering import keep_order, reorder
from mmrag.types import Query, Verdict

QUERY = Query(text="Which animal hoots?")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a red picture.png"
    Image.new("RGB", (40, 30), "red").save(path)
    return path


@pytest.fixture
def pdf(make_pdf: Callable[[Path, Sequence[str]], Path], tmp_path: Path) -> Path:
    return make_pdf(tmp_path / "two.pdf", ["The first page.", "The second page."])


def metadata_of(pdf: Path, number: int) -> dict[str, object]:
    digest = hashlib.sha256(pdf.read_bytes()).hexdigest()
    return {"doc_id": digest[:16], "page": number, "page_label": "ii", "file_path": str(pdf)}


def pages(*items: HostItem, images: bool = True):
    return [candidate.page for candidate in ranking_of(QUERY, items, images=images)]


# ---- items to candidates


def test_order_text_and_place_are_those_of_the_items() -> None:
    items = [HostItem("a", score=0.1, id="x"), HostItem("b", score=0.9, id="y")]
    ranking = ranking_of(QUERY, items)
    assert [(one.id, one.record.text, one.score, one.rank) for one in ranking] == [
        ("x", "a", 0.1, 1),
        ("y", "b", 0.9, 2),
    ]
    assert [item_position(one) for one in reorder(ranking, [Verdict(0.0), Verdict(1.0)])] == [1, 0]
    assert ranking_of(QUERY, []).candidates == ()


def test_ids_are_made_one_an_item() -> None:
    items = [HostItem("a", id="x"), HostItem("b", id="x"), HostItem("c"), HostItem("d", id="x (2)")]
    assert [one.id for one in ranking_of(QUERY, items)] == ["x", "x (2)", "item 2", "x (2) (2)"]


def test_where_a_score_is_missing_none_counts() -> None:
    items = [HostItem("a", score=0.9), HostItem("b"), HostItem("c", score=0.1)]
    ranking = ranking_of(QUERY, items)
    assert {one.score for one in ranking} == {0.0}
    judged = reorder(ranking, [Verdict(1.0), Verdict(2.0), Verdict(3.0)], alpha=0.9)
    assert [item_position(one) for one in judged] == [2, 1, 0]


def test_only_pictures_make_pages(picture) -> None:
    assert pages(HostItem("a")) == [None]
    assert pages(HostItem("a", image=picture), images=False) == [None]
    assert pages(HostItem("a", image="/no/such.png"), images=False) == [None]


def test_a_picture_by_path_uri_data_bytes_or_object_is_drawn(picture) -> None:
    data = picture.read_bytes()
    uri = "data:image/png;base64," + base64.b64encode(data).decode()
    draw = PageDrawer()
    for image in (picture, str(picture), picture.as_uri(), uri, data, Image.open(picture)):
        (page,) = pages(HostItem("a", image=image))
        drawn = page.image if page.image is not None else draw(page, 100_000)
        assert (drawn.size, drawn.convert("RGB").getpixel((1, 1))) == ((40, 30), (255, 0, 0))
        assert (page.text, page.number, page.source.kind) == ("a", 0, "image")


def test_other_pictures_are_other_pages(picture, tmp_path) -> None:
    """Traces are kept by the digest of a page's source: two pictures must not share one."""
    blue = tmp_path / "blue.png"
    Image.new("RGB", (40, 30), "blue").save(blue)
    one, same, other = pages(*(HostItem("a", image=path) for path in (picture, picture, blue)))
    assert one.source.sha256 == same.source.sha256 != other.source.sha256
    one, same, other = pages(*(HostItem("a", image=path.read_bytes()) for path in (picture, picture, blue)))
    assert one.source.sha256 == same.source.sha256 != other.source.sha256


def test_a_page_of_a_document_keeps_its_identity_and_can_be_drawn(pdf, picture) -> None:
    (found,) = discover([pdf])
    with DocumentReader() as reader:
        known = list(reader.pages(found))[1]
    drawn, named = pages(
        HostItem(known.text, metadata=metadata_of(pdf, 1)),
        HostItem(known.text, image=picture, metadata=metadata_of(pdf, 1)),
    )
    for page in (drawn, named):
        assert (page.source, page.number, page.text) == (known.source, 1, known.text)
        assert page.label == "ii"
    draw = PageDrawer()
    image = draw(drawn, 50_000)
    assert 30_000 < image.width * image.height <= 50_000
    assert image.height > image.width  # the page, not the red picture
    assert draw(named, 50_000).size == (40, 30)
    draw.close()
    assert draw(drawn, 50_000).size == image.size  # closing is not for ever
    draw.close()


def test_a_picture_that_is_gone_is_drawn_from_its_document_or_named(pdf) -> None:
    (page,) = pages(HostItem("a", image="/no/such.png", metadata=metadata_of(pdf, 0)))
    assert isinstance(page, PicturedPage)
    assert page.picture is None
    with pytest.raises(FileNotFoundError, match=r"the picture of 'x' must be a file, got '/no/such\.png'"):
        pages(HostItem("a", id="x", image="/no/such.png"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"doc_id": "0123456789abcdef"},  # the file is another one by now
        {"doc_id": "mine"},
        {"page": "1"},
        {"page": True},
        {"file_path": "/no/such.pdf"},
        {"file_path": None},
    ],
)
def test_metadata_that_leads_nowhere_makes_no_page(pdf, wrong) -> None:
    assert pages(HostItem("a", metadata={**metadata_of(pdf, 0), **wrong})) == [None]


def test_an_address_on_the_network_is_not_fetched_and_said(caplog) -> None:
    with caplog.at_level(logging.WARNING):
        assert pages(HostItem("a", id="x", image="https://example.org/a.png")) == [None]
    assert "x is judged by its text: its picture is not on this machine" in caplog.text


# ---- verdicts to metadata


def said(verdict: Verdict, item: HostItem, *, thought: bool = False, alpha: float = 0.0):
    judged = reorder(ranking_of(QUERY, [item]), [verdict], alpha=alpha)
    return judgement(judged, judged[0], item, thought=thought)


def test_scores_note_thought_and_boxes_are_flat() -> None:
    verdict = Verdict(0.75, "Hm.", evidence=((0.1, 0.2, 0.3, 0.4),), note="shortened")
    told = said(verdict, HostItem("a", score=0.25), thought=True)
    assert json.loads(str(told.pop("bbox"))) == [[0.1, 0.2, 0.3, 0.4]]
    assert told == {
        "relevance_score": 0.75,
        "retrieval_score": 0.25,
        "rerank_note": "shortened",
        "thought": "Hm.",
    }
    assert said(Verdict(0.75, "Hm."), HostItem("a")) == {"relevance_score": 0.75}


def test_what_stood_there_before_is_not_overwritten() -> None:
    item = HostItem("a", score=0.9, metadata={"retrieval_score": 7, "bbox": "[]"})
    told = said(Verdict(0.1, evidence=((0.0, 0.0, 1.0, 1.0),)), item)
    assert told == {"relevance_score": 0.1, "retrieval_score": 7.0}


def test_an_order_that_was_kept_says_why() -> None:
    items = [HostItem("a", score=0.9), HostItem("b")]
    ranking = keep_order(ranking_of(QUERY, items), "no server")
    first, second = (
        judgement(ranking, one, item, thought=True) for one, item in zip(ranking, items, strict=True)
    )
    why = {"reranked": False, "why_not": "no server"}
    assert first == {"relevance_score": 0.9, "retrieval_score": 0.9, **why}
    assert second == why


# ---- which reranker is meant


def test_without_a_server_the_local_one_reads_everything_it_is_given() -> None:
    local = host_reranker()
    assert isinstance(local, LocalReranker)
    assert local.alpha == 0.5
    assert host_reranker(alpha=0.2).alpha == 0.2
    texts = [*["Cats purr."] * 14, "Owls hoot at night."]
    judged = local.rerank(ranking_of(QUERY, [HostItem(text) for text in texts]), top_n=1)
    assert item_position(judged[0]) == 14  # behind the ten that it judges in a pipeline
    assert not needs_images(local)


def test_with_a_server_it_judges_pointwise_and_needs_images() -> None:
    draw = PageDrawer()
    served = host_reranker("http://127.0.0.1:9", render=draw, think_tokens=8)
    assert isinstance(served, ThinkReranker)
    assert (served.mode, served.alpha, served.render) == ("pointwise", 0.0, draw)
    assert served.settings.think_tokens == 8
    assert needs_images(served)
    assert not needs_images(host_reranker("http://127.0.0.1:9", images=False))
    assert host_reranker("http://127.0.0.1:9", mode="listwise").mode == "listwise"


def test_the_writer_of_traces_can_draw_too(tmp_path) -> None:
    from mmrag.rerank.traces import TraceWriter

    draw = PageDrawer()
    writer = TraceWriter("http://127.0.0.1:9", cache=tmp_path)
    served = host_reranker("http://127.0.0.1:9", mode="ecrr", traces=writer, render=draw)
    assert served.settings.traces.render is draw
    assert writer.render is None


def test_a_ready_one_is_taken_and_can_draw() -> None:
    draw = PageDrawer()
    ready = ThinkReranker("http://127.0.0.1:9")
    assert ready_reranker(ready, draw, []).render is draw
    assert ready.render is None
    own = ThinkReranker("http://127.0.0.1:9", render=lambda page, pixels: None)
    assert ready_reranker(own, draw, []) is own
    with pytest.raises(ValueError, match="a ready reranker takes no mode or model"):
        ready_reranker(own, draw, ["mode", "model"])
    with pytest.raises(ValueError, match="must have rerank and arerank, got str"):
        ready_reranker("local", draw, [])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"think_tokens": 64}, "takes no think_tokens, got think_tokens=64"),
        ({"model": "m", "extra": {"a": 1}}, "takes no model or extra"),
        ({"base_url": "http://x", "mode": "local"}, "takes no base_url"),
        ({"mode": "pointwise"}, "must have the server's base_url"),
        ({"alpha": 1.5}, "alpha is the weight of the retrieval score"),
    ],
)
def test_settings_that_do_not_fit_the_mode_are_refused(settings, words) -> None:
    with pytest.raises(ValueError, match=words):
        host_reranker(**settings)


def test_a_key_from_the_environment_does_not_stop_the_local_one() -> None:
    assert isinstance(host_reranker(api_key="sk"), LocalReranker)
