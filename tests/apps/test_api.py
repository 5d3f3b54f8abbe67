"""The API: what `DocumentQA` says over HTTP, to those who may hear it, without a path of the machine."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pymupdf
import pytest
from PIL import Image

from mmrag.apps.access import read_keys
from mmrag.apps.collections import Collections
from mmrag.apps.faults import without_paths

from .conftest import KEYS, open_small

QUESTION = "How many tonnes does the blue whale weigh?"


def events(response):
    """Name and data of server-sent events."""
    parts = [part.split("\n") for part in response.text.strip().split("\n\n")]
    return [(head.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for head, data in parts]


def test_a_question_is_answered_as_the_library_answers_it(serve, folders, embedder):
    client = serve()
    body = client.post("/api/collections/whales/ask", json={"question": QUESTION}).json()
    with open_small(folders["whales"], embedder, read_only=True) as qa:
        answer = qa.ask(QUESTION, evidence=False)

    assert (body["answer"], body["abstained"], body["quoted"]) == (
        answer.text,
        answer.abstained,
        answer.quoted,
    )
    [first, *_] = body["citations"]
    assert first["quote"] == answer.citations[0].quote
    assert [tuple(box) for box in first["boxes"]] == list(answer.citations[0].boxes)
    assert first["page"]["file"] == "whales.pdf" and first["page"]["number"] == 0
    assert body["candidates"][0]["scores"]["fused"] == pytest.approx(
        answer.ranking[0].scores["fused"], rel=1e-4
    )


def test_a_question_leans_on_the_history(serve):
    client = serve()
    asked = {"role": "user", "content": QUESTION}
    history = [asked, {"role": "assistant", "content": "150 tonnes [1]"}]
    body = client.post(
        "/api/collections/whales/ask", json={"question": "And where?", "history": history}
    ).json()
    assert body["standalone"] == body["question"] == "And where? tonnes blue whale weigh"
    streamed = client.post(
        "/api/collections/whales/ask", json={"question": "And where?", "history": history, "stream": True}
    )
    assert events(streamed)[-1][1]["standalone"] == body["standalone"]
    plain = client.post("/api/collections/whales/ask", json={"question": "And where?"}).json()
    assert plain["standalone"] == ""
    bad = client.post(
        "/api/collections/whales/ask", json={"question": "And?", "history": [{"role": "x", "content": "y"}]}
    )
    assert bad.status_code == 422


def test_a_search_takes_filter_budget_channels_and_groups(serve):
    client = serve()

    def found(**options):
        reply = client.post("/api/collections/whales/search", json={"question": "tea or whale", **options})
        return [candidate["page"]["file"] for candidate in reply.json()["candidates"]]

    assert set(found()) == {"whales.pdf", "secret.pdf"}
    assert set(found(filter={"season": "autumn"})) == {"secret.pdf"}
    assert len(found(k=1)) == 1 and len(found(group_by="document", k=2)) >= 2
    assert found(channels=["text"], budget=[1, 1], filter={"season": "autumn"}) == ["secret.pdf"]


def test_an_answer_streams_as_events_and_ends_with_the_whole(serve):
    client = serve()
    reply = client.post("/api/collections/whales/ask", json={"question": QUESTION, "stream": True})
    named = events(reply)

    assert reply.headers["content-type"].startswith("text/event-stream")
    assert {name for name, _ in named[:-1]} == {"piece"} and named[-1][0] == "answer"
    text = "".join(data["text"] for name, data in named if name == "piece")
    assert text == named[-1][1]["answer"]


def test_a_page_has_its_picture_neighbours_blocks_and_parts(serve):
    client = serve()
    [whales, _] = client.get("/api/collections/whales/documents").json()
    page = client.get(f"/api/collections/whales/pages/{quote(whales['first_page'], safe='')}").json()
    second = client.get(f"/api/collections/whales/pages/{quote(page['next'], safe='')}").json()

    assert page["previous"] is None and second["previous"] == page["id"] and "hertz" in second["text"]
    picture = client.get(page["picture"], params={"width": 300})
    image = Image.open(io.BytesIO(picture.content))
    assert picture.headers["content-type"] == "image/png" and image.width == 300
    base = page["picture"].removesuffix("/picture")
    part = client.get(f"{base}/crop", params={"x0": 0.1, "y0": 0.1, "x1": 0.6, "y1": 0.2, "width": 200})
    assert Image.open(io.BytesIO(part.content)).width <= 200
    assert any("blue whale" in block["text"] for block in client.get(f"{base}/blocks").json())


def test_marks_come_back_as_a_pdf_with_annotations(serve):
    client = serve()
    answer = client.post("/api/collections/whales/ask", json={"question": QUESTION}).json()
    marks = [{"page_id": c["id"], "boxes": c["boxes"], "note": c["quote"]} for c in answer["citations"][:1]]
    reply = client.post("/api/collections/whales/highlight", json={"marks": marks})

    with pymupdf.open("pdf", reply.content) as document:
        page = document[0]
        [annotation] = page.annots()
        assert annotation.type[1] == "Highlight" and document.page_count == 3


def test_a_heat_map_says_what_it_shows(serve):
    client = serve()
    [document, _] = client.get("/api/collections/whales/documents").json()
    base = f"/api/collections/whales/pages/{quote(document['first_page'], safe='')}"
    heat = client.get(f"{base}/heat", params={"question": QUESTION}).json()
    assert "not where the answer is" in heat["note"]
    assert heat["rows"] == []  # this encoder's rows cannot be laid on a page, and the note says so
    assert "cannot be laid" in heat["note"]
    assert client.get(f"{base}/heat").status_code == 422


# ---- adding and removing --------------------------------------------------------------------------


@pytest.mark.usefixtures("structure_models")
def test_a_table_is_uploaded_and_its_citation_names_the_line(serve, tmp_path):
    client = serve(read_only=False, chosen={"new": tmp_path / "new"})
    files = [("files", ("people.csv", b"city;people\nOslo;709037\nBergen;291940\n"))]
    report = client.post("/api/collections/new/documents", files=files).json()
    assert (report["added"], report["skipped"]) == (["people.csv"], [])
    body = {"question": "How many people live in Bergen?"}
    [citation, *_] = client.post("/api/collections/new/ask", json=body).json()["citations"]
    assert (citation["location"], citation["page"]["label"]) == ("line 3", "lines 1-3")
    assert client.get(citation["page"]["picture"]).headers["content-type"].startswith("image/")


def test_files_are_uploaded_asked_and_removed(serve, tmp_path, make_pdf):
    client = serve(read_only=False, chosen={"new": tmp_path / "new"})
    data = make_pdf(tmp_path / "pump.pdf", ["Pump B ran 41 hours in March."]).read_bytes()
    files = [("files", ("../../etc/pump.pdf", data)), ("files", ("notes.bin", b"\x00\x01"))]
    report = client.post(
        "/api/collections/new/documents", files=files, data={"metadata": '{"site": "a"}'}
    ).json()

    assert report["added"] == ["pump.pdf"] and report["pages"] == 1
    assert [item["name"] for item in report["skipped"]] == ["notes.bin"]
    answer = client.post(
        "/api/collections/new/ask", json={"question": "How long did pump B run?", "filter": {"site": "a"}}
    )
    assert "41 hours" in answer.json()["answer"]
    picture = client.get(answer.json()["citations"][0]["page"]["picture"])
    assert picture.status_code == 200  # of bytes that the index keeps
    [document] = client.get("/api/collections/new/documents").json()
    assert client.delete(f"/api/collections/new/documents/{document['id']}").json() == {"records": 1}
    assert client.get("/api/collections/new/documents").json() == []
    assert client.delete(f"/api/collections/new/documents/{document['id']}").status_code == 404


def test_paths_are_taken_below_one_folder_alone(serve, tmp_path, make_pdf):
    make_pdf(tmp_path / "in" / "a.pdf", ["Inside."])
    make_pdf(tmp_path / "out.pdf", ["Outside."])
    (tmp_path / "in" / "link.pdf").symlink_to(tmp_path / "out.pdf")
    closed = serve(read_only=False, chosen={"a": tmp_path / "index-a"})
    assert closed.post("/api/collections/a/paths", json={"paths": ["a.pdf"]}).status_code == 403
    client = serve(read_only=False, chosen={"b": tmp_path / "index-b"}, add_root=tmp_path / "in")

    assert client.post("/api/collections/b/paths", json={"paths": ["a.pdf"]}).json()["added"] == ["a.pdf"]
    for path in ("../out.pdf", str(tmp_path / "out.pdf"), "link.pdf"):
        assert client.post("/api/collections/b/paths", json={"paths": [path]}).status_code == 403
    assert client.post("/api/collections/b/paths", json={"paths": ["none.pdf"]}).status_code == 404


def test_a_server_for_reading_writes_nothing(serve):
    client = serve()
    assert (
        client.post("/api/collections/tea/documents", files=[("files", ("a.pdf", b"x"))]).status_code == 403
    )
    [document] = client.get("/api/collections/tea/documents").json()
    assert client.delete(f"/api/collections/tea/documents/{document['id']}").status_code == 403


# ---- who may see what -----------------------------------------------------------------------------


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def test_without_a_key_that_is_known_nothing_is_said(serve):
    client = serve(KEYS)
    for headers in ({}, bearer("wrong"), {"Authorization": "Basic whole-and-writing-key"}):
        for path in ("/api/collections", "/api/collections/whales", "/api/metrics", "/api/collections/none"):
            reply = client.get(path, headers=headers)
            assert reply.status_code == 401 and reply.headers["www-authenticate"] == "Bearer"
    assert client.get("/api/health").status_code == 200
    assert len(client.get("/api/collections", headers=bearer("whole-and-writing-key")).json()) == 2


def test_a_collection_that_a_key_may_not_see_is_like_one_that_is_not_there(serve):
    client = serve(KEYS)
    headers = bearer("one-collection-only-key")
    assert [one["name"] for one in client.get("/api/collections", headers=headers).json()] == ["tea"]
    hidden = client.get("/api/collections/whales", headers=headers)
    absent = client.get("/api/collections/nothing", headers=headers)
    assert hidden.status_code == absent.status_code == 404
    assert hidden.json()["error"]["message"] == absent.json()["error"]["message"].replace("nothing", "whales")


def test_a_filter_of_a_key_hides_pages_everywhere(serve):
    client = serve(KEYS)
    all_pages, spring = bearer("whole-and-writing-key"), bearer("spring-pages-only-key")
    documents = client.get("/api/collections/whales/documents", headers=all_pages).json()
    [secret] = [one["first_page"] for one in documents if one["names"] == ["secret.pdf"]]

    visible = client.get("/api/collections/whales/documents", headers=spring).json()
    assert [one["names"] for one in visible] == [["whales.pdf"]]
    assert client.get("/api/collections/whales", headers=spring).json()["documents"] == 1
    for kind in ("search", "ask"):
        body = {"question": "At how many degrees is green tea steeped?", "filter": {"season": "autumn"}}
        reply = client.post(f"/api/collections/whales/{kind}", json=body, headers=spring)
        assert reply.json()["candidates"] == []
        body = {
            "question": "green tea degrees",
            "filter": {"$or": [{"season": "autumn"}, {"season": "spring"}]},
        }
        reply = client.post(f"/api/collections/whales/{kind}", json=body, headers=spring).json()
        assert {one["page"]["file"] for one in reply["candidates"]} == {"whales.pdf"}
    base = f"/api/collections/whales/pages/{quote(secret, safe='')}"
    box = {"x0": 0, "y0": 0, "x1": 1, "y1": 1}
    for path in (base, f"{base}/picture", f"{base}/crop", f"{base}/blocks"):
        assert client.get(path, headers=all_pages, params=box).status_code == 200
        assert client.get(path, headers=spring, params=box).status_code == 404
    marks = {"marks": [{"page_id": secret, "boxes": [[0, 0, 1, 1]]}]}
    assert client.post("/api/collections/whales/highlight", json=marks, headers=spring).status_code == 404


def test_a_file_of_keys_is_read_strictly(tmp_path):
    path = tmp_path / "keys.json"
    for content, message in [
        ("{", "JSON list"),
        ("[]", "a key at least"),
        ('[{"key": "short"}]', "at least 16 characters"),
        ('[{"name": "x"}]', "'key' or 'key_sha256'"),
        ('[{"key": "long-enough-for-a-key", "scope": 1}]', "scope"),
        ('[{"key": "long-enough-for-a-key", "collections": "a"}]', "list of names"),
        ('[{"key": "long-enough-for-a-key", "filter": {"a": 1}, "write": true}]', "must not write"),
        ('[{"key": "long-enough-for-a-key"}, {"key": "long-enough-for-a-key"}]', "once"),
    ]:
        path.write_text(content)
        with pytest.raises(ValueError, match=message) as caught:
            read_keys(path)
        assert "long-enough" not in str(caught.value)
    path.write_text('[{"key": "long-enough-for-a-key", "collections": ["tea"], "name": "app"}]')
    grant = read_keys(path).grant("Bearer long-enough-for-a-key")
    assert grant.sees("tea") and not grant.sees("whales") and not grant.can_write and grant.name == "app"


# ---- faults ---------------------------------------------------------------------------------------


def test_wrong_requests_are_told_what_is_wrong(serve):
    client = serve()
    for body, word in [
        ({"question": ""}, "question"),
        ({"question": "x", "k": 0}, "k"),
        ({"question": "x", "depth": 3}, "depth"),
        ({"question": "x", "filter": {"a": {"$like": 1}}}, "$like"),
        ({"question": "x", "budget": [0, 1]}, "0"),
        ({"question": "x", "think_tokens": 9}, "think"),
        ({"question": "x", "look_again": 1}, "look_again must have a reranker"),
        ({"question": "x", "look_again": 99}, "look_again"),
        ({"question": "x" * 20_000}, "question"),
    ]:
        reply = client.post("/api/collections/tea/search", json=body)
        assert reply.status_code == 422 and word in reply.json()["error"]["message"], body
    assert client.post("/api/collections/tea/search", content=b"{").status_code == 422
    assert client.get("/api/nothing").json()["error"]["type"] == "HTTPError"


def test_no_path_of_the_machine_is_sent(serve, tmp_path, make_pdf, embedder):
    source = make_pdf(tmp_path / "private folder" / "a.pdf", ["Words that move."])
    with open_small(tmp_path / "index", embedder) as qa:
        qa.add(source)
    client = serve(chosen={"a": tmp_path / "index"})
    source.unlink()
    [document] = client.get("/api/collections/a/documents").json()
    reply = client.get(f"/api/collections/a/pages/{quote(document['first_page'], safe='')}/picture")
    assert reply.status_code == 410 and "a.pdf" in reply.text and "private" not in reply.text
    answer = client.post("/api/collections/a/ask", json={"question": "Which words move?"})
    assert answer.status_code == 200
    assert [key for key, value in answer.json().items() if str(tmp_path) in json.dumps(value)] == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("the file at /srv/x y/a.pdf has changed.", "the file at a.pdf has changed."),
        ("got '/srv/a b', which is not '/srv/c:d/e'", "got 'a b', which is not 'e'"),
        (r"C:\Users\me\a.pdf is gone", "a.pdf is gone"),
        ("/a/b: not a directory", "b: not a directory"),
        ("3/4 of the pages, see https://example.org/a/b", "3/4 of the pages, see https://example.org/a/b"),
    ],
)
def test_paths_are_cut_out_of_messages(text, shown):
    assert (
        shown in without_paths(text)
        and "/srv" not in without_paths(text)
        and "Users" not in without_paths(text)
    )


def test_the_address_of_a_store_is_left_out():
    for address in ("postgresql://ann:***@db.example:5432/docs?schema=a&host=/tmp/x", "postgres://h/db"):
        assert without_paths(f"{address} took too long.") == "the index's server took too long."
        assert (
            without_paths(f"no server at {address} (refused).")
            == "no server at the index's server (refused)."
        )


def test_an_error_of_the_server_itself_is_sent_as_an_id_alone(serve, folders, monkeypatch):
    client = serve()
    client.get("/api/collections")
    qa = client.app._app.state.parts.collections.get("tea")

    def fail(*arguments, **options):
        raise RuntimeError("the inside of /srv/secret")

    monkeypatch.setattr(type(qa.index), "documents", fail)
    reply = client.get("/api/collections/tea/documents")
    assert reply.status_code == 500 and "secret" not in reply.text and reply.json()["error"]["id"]


def test_a_request_that_takes_too_long_is_ended(serve, monkeypatch):
    import asyncio

    client = serve(seconds=0.05)
    client.get("/api/collections")
    qa = client.app._app.state.parts.collections.get("tea")

    async def wait(*arguments, **options):
        await asyncio.sleep(60)

    monkeypatch.setattr(qa, "asearch", wait, raising=False)
    assert client.post("/api/collections/tea/search", json={"question": "x"}).status_code == 504


def test_what_is_too_large_is_refused_with_and_without_a_length(serve, tmp_path):
    client = serve(read_only=False, chosen={"a": tmp_path / "index"}, most_bytes=2_000)
    files = [("files", ("a.pdf", b"x" * 5_000))]
    assert client.post("/api/collections/a/documents", files=files).status_code == 413

    def stream():
        yield b'{"question": "'
        for _ in range(50):
            yield b"x" * 100
        yield b'"}'

    assert client.post("/api/collections/a/search", content=stream()).status_code == 413


def test_uploads_at_once_are_all_there_once(serve, tmp_path):
    client = serve(read_only=False, chosen={"a": tmp_path / "index"})

    def upload(number):
        files = [("files", (f"{name}.txt", f"text {name}".encode())) for name in (number, "shared")]
        return client.post("/api/collections/a/documents", files=files).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(upload, range(16))) == {200}
    documents = client.get("/api/collections/a/documents").json()
    names = [name for document in documents for name in document["names"]]
    assert sorted(names) == sorted([*(f"{number}.txt" for number in range(16)), "shared.txt"])


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../up.txt", "up.txt"),
        ("..\\up.txt", "up.txt"),
        ("/etc/passwd.txt", "passwd.txt"),
        ("a\u202etxt.txt", "atxt.txt"),
        ("<script>.txt", "<script>.txt"),
        ("x" * 300 + ".txt", "x" * 196 + ".txt"),
    ],
)
def test_names_of_uploads_are_names(serve, tmp_path, sent, kept):
    client = serve(read_only=False, chosen={"a": tmp_path / "index"})
    reply = client.post("/api/collections/a/documents", files=[("files", (sent, b"words of a text"))])
    assert reply.json()["added"] == [kept]
    assert {path.name for path in tmp_path.rglob("*.txt")} == set()  # nothing is written under that name


def test_metadata_nested_without_an_end_is_a_wrong_request(serve, tmp_path):
    client = serve(read_only=False, chosen={"a": tmp_path / "index"})
    files = [("files", ("a.txt", b"a text"))]
    reply = client.post("/api/collections/a/documents", files=files, data={"metadata": "[" * 100_000})
    assert reply.status_code == 422 and "metadata must be a JSON object" in reply.json()["error"]["message"]


def test_other_hosts_and_other_sites_are_refused(serve, tmp_path):
    client = serve(read_only=False, chosen={"a": tmp_path / "index"})
    assert client.get("/api/health", headers={"Host": "evil.example"}).status_code == 421
    for origin in ("https://evil.example", "null"):
        reply = client.post("/api/collections/a/search", json={"question": "x"}, headers={"Origin": origin})
        assert reply.status_code == 403
    same = client.post(
        "/api/collections/a/search", json={"question": "x"}, headers={"Origin": "http://localhost"}
    )
    assert same.status_code == 200 and "access-control-allow-origin" not in same.headers
    assert (
        client.options("/api/collections/a/search", headers={"Origin": "https://evil.example"}).status_code
        == 405
    )


def test_every_answer_carries_the_headers_that_keep_scripts_out(serve):
    client = serve()
    for path in ("/api/health", "/api/none", "/api/collections/none"):
        headers = client.get(path).headers
        assert (
            headers["x-content-type-options"] == "nosniff"
            and "script-src 'self'" in headers["content-security-policy"]
        )


def test_openapi_describes_every_call_and_metrics_count_them(serve):
    client = serve()
    paths = client.get("/api/openapi.json").json()["paths"]
    base = "/api/collections/{collection}"
    assert {
        "/api/health",
        base,
        f"{base}/ask",
        f"{base}/search",
        f"{base}/documents",
        f"{base}/highlight",
    } <= set(paths)
    for path, methods in paths.items():
        for method in methods.values():
            assert method.get("description"), path
    client.post("/api/collections/tea/search", json={"question": "x"})
    text = client.get("/api/metrics").text
    assert f'mmrag_requests_total{{route="{base}/search",status="200"}} 1.0' in text


def test_readers_answer_beside_a_writer(serve, tmp_path, embedder, make_pdf):
    folder = tmp_path / "index"
    with open_small(folder, embedder) as writer:
        writer.add_texts(["first text"])
        readers = [serve(chosen={"a": folder}) for _ in range(2)]
        for number in range(3):
            writer.add_texts([f"tea number {number}"])
            counts = {reader.get("/api/collections/a").json()["records"] for reader in readers}
            assert counts == {number + 2}


def test_names_of_collections_are_checked(tmp_path):
    for name in ("", "a/b", "..", "a b", "x" * 65):
        with pytest.raises(ValueError, match="collection's name must be"):
            Collections({name: tmp_path}, lambda folder: None)
    with pytest.raises(ValueError, match="an index at least"):
        Collections({}, lambda folder: None)
