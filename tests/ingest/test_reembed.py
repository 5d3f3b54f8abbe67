"""Laws of going over to another embedder: all that an index holds, new vectors, and the old one untouched."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mmrag import DocumentQA, MemoryIndex, ReaderSettings, Record, TextEmbedder
from mmrag.cli import main
from mmrag.errors import IndexFormatError, IndexLockedError, IndexMismatchError, UnsupportedInputError
from mmrag.index import ChromaIndex
from mmrag.ingest import reembed as module
from mmrag.ingest.reembed import WORK_FOLDER, reembed

READER = ReaderSettings(ocr="off", workers=1)
WHALES = "The blue whale is the largest animal.\nIt can weigh 150 tonnes."
TEA = "Green tea is steeped at 80 degrees.\nIt is drunk in Japan."
ROUNDING = 1 / 127
"""Largest step of the int8 rows that are stored, up to 1: what torch computes in another batch differs in
float32's last bits, which may fall to the other side of a step."""
BRIDGES = "The Harbour Bridge in Sydney was opened in 1932.\nIt carries eight lanes."


class Watched:
    """An embedder that remembers what it was given, may say it reads less, and may be cut off."""

    def __init__(self, embedder, *, calls: int = 1000, modalities=None) -> None:
        self._embedder, self._calls = embedder, calls
        self.modalities = modalities or embedder.modalities
        self.given: list[object] = []

    def __getattr__(self, name):
        return getattr(self._embedder, name)

    def encode_document(self, documents, **how):
        if len(self.given) and self._calls <= 0:
            raise KeyboardInterrupt
        self._calls -= 1
        self.given += documents
        return self._embedder.encode_document(documents, **how)


@pytest.fixture(scope="module")
def other(text_encoder):
    """The same encoder with other windows: other vectors, another fingerprint."""
    return TextEmbedder(text_encoder, window=12, stride=8)


@pytest.fixture(scope="module")
def pdfs(tmp_path_factory, make_pdf) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    make_pdf(folder / "nature.pdf", [WHALES, TEA])
    make_pdf(folder / "city.pdf", [BRIDGES])
    return folder


def fill(qa: DocumentQA, pdfs: Path) -> None:
    """Files, a file under two names, bytes, own texts and images."""
    qa.add(pdfs / "nature.pdf", metadata={"year": 2024})
    qa.add(pdfs / "city.pdf")
    qa.add(("memo.pdf", (pdfs / "city.pdf").read_bytes()))
    picture = Image.new("RGB", (300, 80), "white")
    ImageDraw.Draw(picture).text((10, 30), "Harbour", fill="black")
    qa.add(picture)
    qa.add_texts(["A note on whales.", ""], ids=["note", "empty"], metadata=[{"tags": ("a", "b")}, {}])
    qa.add_images([picture], ids=["snap"], metadata=[{"year": 1932}])


@pytest.fixture(scope="module")
def built(tmp_path_factory, embedder, pdfs) -> Path:
    path = tmp_path_factory.mktemp("old") / "index"
    with DocumentQA.open(path, embedder=embedder, reader=READER) as qa:
        fill(qa, pdfs)
        (page,) = qa.index.get([qa.index.ids({"file_name": "nature.pdf"})[1]], matrices=True)
        read = replace(page.page, text="Words that OCR read.", text_source="ocr")
        qa.index.add([replace(page, text=read.text, page=read)])
    return path


@pytest.fixture
def old(built, tmp_path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "old"))


@pytest.fixture
def many(tmp_path, embedder) -> Path:
    """More records than one batch."""
    with DocumentQA.open(tmp_path / "many", embedder=embedder, reader=READER) as qa:
        qa.add_texts([f"Note {n}." for n in range(40)], ids=[f"n{n}" for n in range(40)])
    return tmp_path / "many"


def held(path: Path) -> dict[str, object]:
    """All that an index holds but its vectors."""
    index = ChromaIndex.open(path, None, read_only=True)
    ids = index.ids()
    keys = [*ids, *(entry.sha256 for entry in index.documents())]
    found = {
        "ids": ids,
        "records": index.get(ids),
        "words": [record.page.words for record in index.get(ids) if record.page],
        "documents": index.documents(),
        "bytes": {key: index.get_blob(key) for key in keys},
        "by year": index.ids({"year": {"$gt": 2000}}),
        "by tag": index.ids({"tags": "b"}),
        "by words": index.search_text("whale OCR harbour", k=9),
    }
    index.close()
    return found


def matrices(path: Path) -> dict[str, np.ndarray]:
    index = ChromaIndex.open(path, None, read_only=True)
    found = {record.id: record.matrix for record in index.get(index.ids(), matrices=True)}
    index.close()
    return found


def alike(rows: np.ndarray, others: np.ndarray) -> bool:
    """Whether two matrices are one, up to `ROUNDING`."""
    return rows.shape == others.shape and np.allclose(
        rows.astype(np.float32), others.astype(np.float32), rtol=0, atol=ROUNDING
    )


def equal(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    """Whether two indexes hold the same rows, up to `ROUNDING`."""
    return list(a) == list(b) and all(alike(a[id], b[id]) for id in a)


def bytes_of(path: Path) -> dict[str, str]:
    """Digests of an index's files; what SQLite keeps for readers must be empty of changes."""
    files = [file for file in path.rglob("*") if file.is_file() and not file.name.endswith("-shm")]
    assert all(file.stat().st_size == 0 for file in files if file.name.endswith("-wal"))
    kept = [file for file in files if not file.name.endswith("-wal")]
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in kept}


def test_all_but_the_vectors_is_the_same_and_the_old_index_untouched(old, other, tmp_path):
    before, files = held(old), bytes_of(old)
    report = reembed(old, tmp_path / "new", embedder=other, reader=READER)
    after = held(tmp_path / "new")
    for what, value in before.items():
        assert after[what] == value, what
    assert len(before["by year"]) == 2 and before["by tag"] == ["note"] and before["by words"]
    assert sum(data is not None for data in before["bytes"].values()) == 2  # the picture, and "snap"
    assert bytes_of(old) == files
    assert (report.records, report.resumed, report.skipped) == (7, 0, [])
    assert report.embedder == report.before == "bge-small (text only)"
    names = {file.name.split("-")[0] for file in (tmp_path / "new").iterdir()}
    assert {"chroma", "index.sqlite"} <= names and "unfinished" not in names


def test_it_is_searched_as_one_made_from_the_documents(embedder, other, pdfs, tmp_path):
    with DocumentQA.open(tmp_path / "old", embedder=embedder, reader=READER) as qa:
        fill(qa, pdfs)
        made = qa.reembed(tmp_path / "new", embedder=other)
    with made, DocumentQA.open(tmp_path / "direct", embedder=other, reader=READER) as direct:
        assert made.embedder is other and not made.index.read_only
        fill(direct, pdfs)
        new, straight = matrices(tmp_path / "new"), matrices(tmp_path / "direct")
        assert equal(new, straight) and not equal(new, matrices(tmp_path / "old"))
        found, wanted = made.search("largest animal"), direct.search("largest animal")
        assert [(c.id, c.score) for c in found] == [(c.id, c.score) for c in wanted]
        told, said = (
            made.ask("How much can a blue whale weigh?"),
            direct.ask("How much can a blue whale weigh?"),
        )
        assert told.text == said.text and "150" in told.text
        assert [c.boxes for c in told.citations] == [c.boxes for c in said.citations] != [()]
        assert told.citations[0].picture == said.citations[0].picture is not None
        assert made.add(pdfs).unchanged == [str(pdfs / "city.pdf"), str(pdfs / "nature.pdf")]


def test_an_index_by_any_embedder_and_one_in_memory(old, embedder, other, tmp_path):
    reembed(old, tmp_path / "by-other", embedder=other, reader=READER)
    reembed(tmp_path / "by-other", tmp_path / "back", embedder=embedder, reader=READER)
    assert held(tmp_path / "back") == held(old)
    with DocumentQA(MemoryIndex.for_embedder(embedder), embedder=embedder, reader=READER) as qa:
        qa.add_texts(["one", "two"], ids=["1", "2"])
        with asyncio.run(qa.areembed(tmp_path / "kept", embedder=other)) as made:
            assert made.index.ids() == ["1", "2"] and made.path == tmp_path / "kept"


def test_what_a_model_was_paid_for_goes_along(old, other, tmp_path):
    (old / "traces" / "ab").mkdir(parents=True)
    (old / "traces" / "ab" / "abc.json").write_text("{}")
    (old / "pictures").mkdir()
    reembed(old, tmp_path / "new", embedder=other, reader=READER)
    assert (tmp_path / "new" / "traces" / "ab" / "abc.json").read_text() == "{}"
    assert not (tmp_path / "new" / "pictures").exists()


def test_a_place_that_is_taken_is_refused(old, other, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    for place, names in ((tmp_path / "full", "letter.txt"), (old, "outside"), (old / "new", "outside")):
        with pytest.raises(ValueError, match=f"(empty or absent|lie outside).*{names}|{names}"):
            reembed(old, place, embedder=other)
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["letter.txt"]
    (tmp_path / "empty").mkdir()
    reembed(old, tmp_path / "empty", embedder=other, reader=READER)
    with pytest.raises(ValueError, match="empty or absent"):
        reembed(old, tmp_path / "empty", embedder=other)
    with pytest.raises(IndexFormatError, match="must be an index to read"):
        reembed(tmp_path / "nowhere", tmp_path / "new", embedder=other)
    assert not (tmp_path / "new").exists()


def test_a_run_that_was_cut_off_is_no_index_and_is_gone_on_with(many, embedder, other, tmp_path):
    cut = Watched(other, calls=2)
    with pytest.raises(KeyboardInterrupt):
        reembed(many, tmp_path / "new", embedder=cut, reader=READER)
    assert len(cut.given) == 32
    for chosen, only_reads in ((other, False), (None, True)):
        with pytest.raises(IndexFormatError, match=rf"{WORK_FOLDER}|got no index"):
            ChromaIndex.open(tmp_path / "new", chosen, read_only=only_reads)
    with pytest.raises(IndexMismatchError, match="with the embedder that began it"):
        reembed(many, tmp_path / "new", embedder=embedder, reader=READER)
    with DocumentQA.open(many, embedder=embedder, reader=READER) as qa:  # and the old one changes meanwhile
        qa.add_texts(["A late note.", "Note 1 in other words."], ids=["late", "n1"])
        qa.delete(["n2"])
    again = Watched(other)
    report = reembed(many, tmp_path / "new", embedder=again, reader=READER)
    assert set(again.given) == {
        *(f"Note {n}." for n in range(32, 40)),
        "A late note.",
        "Note 1 in other words.",
    }
    assert (report.records, report.resumed) == (40, 30)
    reembed(many, tmp_path / "whole", embedder=other, reader=READER)
    assert held(tmp_path / "new") == held(tmp_path / "whole")
    assert equal(matrices(tmp_path / "new"), matrices(tmp_path / "whole"))
    assert not (tmp_path / "new" / WORK_FOLDER).exists()


def test_a_cut_in_the_last_moves_is_gone_on_with(old, other, tmp_path, monkeypatch, caplog):
    def cut(home, work, target):
        chroma = next(work.glob("chroma-*"))
        chroma.replace(target / chroma.name)
        raise OSError("no power")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no power"):
        patch.setattr(module, "_finish", cut)
        reembed(old, tmp_path / "new", embedder=other, reader=READER)
    with pytest.raises(IndexFormatError):
        ChromaIndex.open(tmp_path / "new", other)
    again = Watched(other)
    assert reembed(old, tmp_path / "new", embedder=again, reader=READER).resumed == 6
    assert again.given == [""]  # the one that had nothing to be embedded is named again
    assert held(tmp_path / "new") == held(old)
    caplog.clear()
    with DocumentQA.open(tmp_path / "new", embedder=other) as qa:
        assert qa.search("whale") and caplog.text == ""
    assert len(list((tmp_path / "new").glob("chroma-*"))) == 1


def test_two_runs_at_once_are_refused(many, other, tmp_path):
    class Meeting(Watched):
        def encode_document(self, documents, **how):
            with pytest.raises(IndexLockedError):
                reembed(many, tmp_path / "new", embedder=other, reader=READER)
            return super().encode_document(documents, **how)

    assert reembed(many, tmp_path / "new", embedder=Meeting(other), reader=READER).records == 40


def test_what_is_written_meanwhile_comes_too(many, embedder, other, tmp_path):
    class Writing(Watched):
        def encode_document(self, documents, **how):
            if not self.given:
                with DocumentQA.open(many, embedder=embedder, reader=READER) as qa:
                    qa.add_texts(["Late."], ids=["late"])
                    qa.delete(["n0"])
            return super().encode_document(documents, **how)

    reembed(many, tmp_path / "new", embedder=Writing(other), reader=READER)
    assert held(tmp_path / "new") == held(many)


# ---- another embedder than the default ---------------------------------------------------------------


def test_an_index_by_anything_else_is_refused_and_the_way_named(old, other, tmp_path, caplog):
    reembed(old, tmp_path / "other", embedder=other, reader=READER)
    caplog.clear()
    with pytest.raises(IndexMismatchError, match=rf"mmrag reembed {tmp_path / 'other'} NEW"):
        DocumentQA.open(tmp_path / "other")
    assert not caplog.records


def test_the_command(many, other, tmp_path, capsys, text_encoder):
    reembed(many, tmp_path / "by-other", embedder=other, reader=READER)
    arguments = [
        "reembed",
        str(tmp_path / "by-other"),
        str(tmp_path / "back"),
        "--embedder",
        str(text_encoder),
    ]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert f"40 pages and records in {tmp_path / 'back'}" in out and "before by bge-small" in out
    assert equal(matrices(tmp_path / "back"), matrices(many))
    assert main([*arguments, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"] == "ValueError"


# ---- an embedder that looks at pages -----------------------------------------------------------------


@pytest.fixture(scope="module")
def seeing(tmp_path_factory):
    """A tiny random model of a true class, and the folder it is loaded from."""
    pytest.importorskip("torch", reason="the extra mllm is not installed")
    pytest.importorskip("transformers", reason="the extra mllm is not installed")
    from mmrag import MLLMEmbedder
    from mmrag.models import checkpoint
    from mmrag.models.tiny import make_tiny

    plain = make_tiny(tmp_path_factory.mktemp("plain"))
    made = MLLMEmbedder.from_pretrained(plain, allow_untrained=True, device="cpu", max_visual_tokens=16)
    folder = tmp_path_factory.mktemp("trained")
    checkpoint.save(folder, made.model, replace(made.config, trained=True))
    return MLLMEmbedder.from_pretrained(folder, device="cpu"), folder


@pytest.fixture
def files(pdfs, tmp_path, embedder) -> tuple[Path, Path]:
    """An old index of files of its own, and their folder."""
    docs = Path(shutil.copytree(pdfs, tmp_path / "docs"))
    with DocumentQA.open(tmp_path / "old", embedder=embedder, reader=READER) as qa:
        fill(qa, docs)
    return tmp_path / "old", docs


def test_pages_are_seen_as_if_they_were_added(files, seeing, tmp_path):
    old, docs = files
    sees, _ = seeing
    watched = Watched(sees)
    report = reembed(old, tmp_path / "new", embedder=watched, reader=READER)
    assert [one.name for one in report.without_picture] == ["empty"]  # neither page nor text
    pages = [one for one in watched.given if not isinstance(one, str)]
    assert len(pages) == 5 and all(page.image is not None for page in pages)
    with DocumentQA.open(tmp_path / "direct", embedder=sees, reader=READER) as direct:
        fill(direct, docs)
    assert equal(matrices(tmp_path / "new"), matrices(tmp_path / "direct"))
    assert held(tmp_path / "new")["records"] == held(old)["records"]


def test_a_file_that_is_gone_or_changed_is_named_and_its_pages_are_read_as_text(
    files, seeing, make_pdf, tmp_path, capsys, caplog
):
    old, docs = files
    sees, folder = seeing
    nature = (docs / "nature.pdf").read_bytes()
    (docs / "nature.pdf").unlink()
    make_pdf(docs / "city.pdf", ["Another city."])
    command = ["reembed", str(old), str(tmp_path / "new"), "--embedder", str(folder), "--workers", "1"]
    assert main([*command, "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    named = {(Path(one["name"]).name, one["page"]): one["reason"] for one in told["without_picture"]}
    assert set(named) == {("nature.pdf", 0), ("nature.pdf", 1), ("city.pdf", 0), ("empty", None)}
    assert "cannot be read any more" in named["nature.pdf", 0] and "has changed" in named["city.pdf", 0]
    assert f"{docs / 'nature.pdf'}: pages are embedded from their text alone" in caplog.text
    assert held(tmp_path / "new")["records"] == held(old)["records"]
    before = held(old)
    page = next(record for record in before["records"] if record.page and "whale" in record.text)
    (from_text,) = sees.encode_document([page.page])
    assert alike(matrices(tmp_path / "new")[page.id], from_text)

    (docs / "nature.pdf").write_bytes(nature)  # adding the file again embeds its pages with their pictures
    with DocumentQA.open(tmp_path / "new", embedder=sees, reader=READER) as qa:
        assert qa.add(docs / "nature.pdf").reread == [str(docs / "nature.pdf")]
        (from_both,) = qa.index.get([page.id], matrices=True)
        image = qa.render(page.page, max_pixels=sees.image_pixels)
    (wanted,) = sees.encode_document([replace(page.page, image=image)])
    assert alike(from_both.matrix, wanted)
    assert not alike(from_both.matrix, from_text)


def test_pages_without_their_picture_are_tried_again_by_a_run_that_goes_on(files, seeing, embedder, tmp_path):
    old, docs = files
    sees, _ = seeing
    with DocumentQA.open(old, embedder=embedder, reader=READER) as qa:
        qa.add_texts([f"Note {n}." for n in range(16)])
    kept = (docs / "nature.pdf").read_bytes()
    (docs / "nature.pdf").unlink()
    with pytest.raises(KeyboardInterrupt):
        reembed(old, tmp_path / "new", embedder=Watched(sees, calls=1), reader=READER)
    (docs / "nature.pdf").write_bytes(kept)
    again = Watched(sees)
    report = reembed(old, tmp_path / "new", embedder=again, reader=READER)
    assert [one.name for one in report.without_picture] == ["empty"] and report.resumed == 13
    pages = [one for one in again.given if not isinstance(one, str)]
    assert [page.source.name for page in pages] == ["nature.pdf"] * 2
    assert all(page.image is not None for page in pages)
    reembed(old, tmp_path / "whole", embedder=sees, reader=READER)
    whole = matrices(tmp_path / "whole")  # of other batches: equal but for rounding
    assert all(np.allclose(made, whole[id], atol=5e-3) for id, made in matrices(tmp_path / "new").items())


def test_an_embedder_of_pictures_alone_refuses_what_has_none(pdfs, seeing, embedder, tmp_path):
    sees = Watched(seeing[0], modalities=frozenset({"image"}))
    docs = Path(shutil.copytree(pdfs, tmp_path / "docs"))
    with DocumentQA.open(tmp_path / "old", embedder=embedder, reader=READER) as qa:
        qa.add(docs)
        (docs / "city.pdf").rename(docs / "moved.pdf")
        with pytest.raises(UnsupportedInputError, match=r"pictures only.*city\.pdf cannot be read any more"):
            reembed(tmp_path / "old", tmp_path / "new", embedder=sees, reader=READER)
        (docs / "moved.pdf").rename(docs / "city.pdf")
        assert reembed(tmp_path / "old", tmp_path / "new", embedder=sees, reader=READER).records == 3
        qa.add_texts(["no picture"], ids=["note"])
    with pytest.raises(UnsupportedInputError, match="'note' has none: it is a text"):
        reembed(tmp_path / "old", tmp_path / "more", embedder=sees, reader=READER)


def test_a_page_that_the_new_embedder_cannot_take_is_left_out_and_named(seeing, embedder, tmp_path):
    import pymupdf

    path = tmp_path / "odd.pdf"
    with pymupdf.open() as document:
        for size in ((612, 792), (2000, 5), (300, 300)):
            document.new_page(width=size[0], height=size[1]).insert_text((5, 5), "words")
        document.save(path)
    with DocumentQA.open(tmp_path / "old", embedder=embedder, reader=READER) as qa:
        assert qa.add(path).pages == 3
        qa.index.add([Record(id="last", matrix=np.ones((1, 384), np.float32), text="text")])
    report = reembed(tmp_path / "old", tmp_path / "new", embedder=seeing[0], reader=READER)
    assert [(one.name, one.page) for one in report.skipped] == [(str(path), 1)]
    assert report.records == 3
    with DocumentQA.open(tmp_path / "new", embedder=seeing[0], reader=READER) as qa:
        ((number, reason),) = qa.status().documents[0].skipped
        assert number == 1 and "at most 200 times as long as wide" in reason
        assert qa.add(path).unchanged == [str(path)]
