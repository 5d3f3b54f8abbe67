"""Weights are those whose digests their folder states, or nothing is computed with them."""

from __future__ import annotations

import hashlib
import shutil

import pytest

from mmrag.embedders.cross_encoder import DEFAULT_MODEL_DIR, CrossEncoder
from mmrag.embedders.mini.embedder import MODEL_DIR, MiniEmbedder
from mmrag.embedders.onnx import SUMS, check_sums
from mmrag.errors import ModelDamagedError
from mmrag.types import Query


@pytest.mark.parametrize("folder", [MODEL_DIR, DEFAULT_MODEL_DIR], ids=["mmrag-mini", "cross-encoder"])
def test_what_ships_states_the_digest_of_every_file_that_is_read(folder):
    sums = dict(reversed(line.split("  ")) for line in (folder / SUMS).read_text().splitlines())
    read = {path.name for path in folder.iterdir()} - {"LICENSE", "README.md", SUMS}
    assert set(sums) == read
    assert all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == sums[name] for name in read)


@pytest.fixture
def copy_of(tmp_path):
    def make(folder):
        return shutil.copytree(folder, tmp_path / folder.name)

    return make


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_flipped_bit_is_told_before_anything_is_scored(copy_of):
    folder = copy_of(DEFAULT_MODEL_DIR)
    assert CrossEncoder(folder).score("Which pump?", "Pump B.") == pytest.approx(
        CrossEncoder().score("Which pump?", "Pump B.")
    )
    flip_a_bit(folder / "model.onnx")
    with pytest.raises(ModelDamagedError, match=r"model\.onnx must have the SHA-256 .*reinstall mmrag"):
        CrossEncoder(folder).score("Which pump?", "Pump B.")


def test_a_flipped_bit_is_told_before_anything_is_embedded(copy_of):
    folder = copy_of(MODEL_DIR)
    flip_a_bit(folder / "tokenizer.json")
    with pytest.raises(ModelDamagedError, match=r"tokenizer\.json must have"):
        MiniEmbedder(folder).encode_query([Query(text="Which pump?")])


def test_a_folder_without_sums_is_ones_own(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"x")
    check_sums(tmp_path)


@pytest.mark.parametrize("line", ["no digest", "0" * 64, f"{'0' * 64}  ../up", f"{'0' * 64}  /etc/passwd"])
def test_a_line_that_is_none_is_told_and_reads_nothing_elsewhere(tmp_path, line):
    (tmp_path / SUMS).write_text(f"{line}\n")
    with pytest.raises(ModelDamagedError, match="must have lines"):
        check_sums(tmp_path)


def test_a_file_that_is_listed_and_missing_is_named(tmp_path):
    (tmp_path / SUMS).write_text(f"{'0' * 64}  model.onnx\n")
    with pytest.raises(FileNotFoundError, match=r"model\.onnx"):
        check_sums(tmp_path)
