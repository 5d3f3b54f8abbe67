"""An index of converted files is whole: what is kept of them has another digest than the files, and may."""

from __future__ import annotations

from pathlib import Path

from mmrag.index.backup import backup, restore
from mmrag.pipeline import DocumentQA


def test_an_index_of_converted_files_is_sound_and_can_be_backed_up(embedder, tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "prices.csv").write_text("item,price\nbolt,0.12\nnut,0.07\n")
    (folder / "notes.md").write_text("# Notes\n\nThe meeting room is on floor three.\n")
    with DocumentQA.open(tmp_path / "index", embedder=embedder, reranker=None) as qa:
        assert qa.add(folder).pages == 2
        assert qa.check().faults == ()
    backup(tmp_path / "index", tmp_path / "copy")
    restore(tmp_path / "copy", tmp_path / "again")
    for path in folder.iterdir():
        path.unlink()
    with DocumentQA.open(tmp_path / "again", embedder=embedder, reranker=None) as qa:
        assert qa.check().faults == ()
        page = qa.search("meeting room").candidates[0].record.page
        assert page is not None and qa.render(page).width > 100  # of what was kept, without the file
