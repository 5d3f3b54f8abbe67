"""A BERT as ONNX, its tokenizer and windows of tokens: the common part of all encoders in onnxruntime.

Inputs run one at a time, in parallel threads, and every run uses one core. The shipped weights are int8 with
activations quantised per tensor, so the output for a text would depend on its neighbours in a batch; alone it
does not, and is no slower, since padding is never computed.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from mmrag.errors import ModelDamagedError
from mmrag.onnx_sessions import ProviderOrder, Providers, open_session
from mmrag.serving.escaping import as_data

Tokens: TypeAlias = "list[int]"

POSITIONS = 512
"""Most tokens of an input, special tokens included."""

_TOKENIZER_CHUNK = 100_000  # characters; bounds the tokenizer's memory on very long texts

Item = TypeVar("Item")
Result = TypeVar("Result")


class WordPieces:
    """A BERT tokenizer; may be called from several threads.

    Args:
        path: of ``tokenizer.json``.

    Attributes:
        first, last: ids of [CLS] and [SEP].

    Raises:
        ValueError: it has no [CLS] or [SEP].
    """

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        special = [self._tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]")]
        if None in special:
            raise ValueError(
                f"the tokenizer must know [CLS] and [SEP], got {path} without. "
                "Pass the folder of a BERT encoder."
            )
        self.first, self.last = cast("list[int]", special)

    def tokenize(self, text: str) -> Tokens:
        """Return token ids without special tokens, also where the text spells one; any string is valid."""
        ids: Tokens = []
        for piece in _pieces(_clean(text)):
            ids += self._tokenizer.encode(piece, add_special_tokens=False).ids
        return ids

    def tokenize_words(self, words: Sequence[str]) -> list[Tokens]:
        """Return the token ids of each word by itself."""
        encodings = self._tokenizer.encode_batch([_clean(word) for word in words], add_special_tokens=False)
        return [encoding.ids for encoding in encodings]


class OnnxBert:
    """A tokenizer and an onnxruntime session; both may be called from several threads.

    Args:
        graph: ONNX file (inputs ``input_ids``, ``attention_mask``, ``token_type_ids``, each ``(B, T)``; one
            output), with ``tokenizer.json`` in the same folder.
        providers: of the session, see `mmrag.onnx_sessions`.

    Raises:
        ValueError: the tokenizer has no [CLS] or [SEP], or a provider is not there.
    """

    def __init__(self, graph: Path, providers: Providers | ProviderOrder = None) -> None:
        self._session = open_session(graph, providers)
        self.dim = int(self._session.get_outputs()[0].shape[-1])
        self._tokenizer = WordPieces(graph.with_name("tokenizer.json"))

    def tokenize(self, text: str) -> Tokens:
        """See `WordPieces.tokenize`."""
        return self._tokenizer.tokenize(text)

    def tokenize_words(self, words: Sequence[str]) -> list[Tokens]:
        """See `WordPieces.tokenize_words`."""
        return self._tokenizer.tokenize_words(words)

    def run(self, first: Tokens, second: Tokens | None = None) -> NDArray[np.float32]:
        """Run the model on one text or a pair; return its output without the batch axis.

        Args:
            first: tokens of ``[CLS] first [SEP]``.
            second: if given, ``second [SEP]`` follows as the other segment.
        """
        tokens = [self._tokenizer.first, *first, self._tokenizer.last]
        segments = [0] * len(tokens)
        if second is not None:
            tokens += [*second, self._tokenizer.last]
            segments += [1] * (len(second) + 1)
        ids = np.array([tokens], dtype=np.int64)  # (1, T)
        (output,) = self._session.run(
            None,
            {
                "input_ids": ids,
                "attention_mask": np.ones_like(ids),
                "token_type_ids": np.array([segments], dtype=np.int64),
            },
        )
        return cast("NDArray[np.float32]", output[0].astype(np.float32, copy=False))


def slide(tokens: Tokens, window: int, stride: int) -> list[Tokens]:
    """Slide a window over all tokens; the empty text is one empty window."""
    last_start = max(0, len(tokens) - window)
    starts = range(0, last_start + stride, stride)  # ends with the first start at or after last_start
    return [tokens[start : start + window] for start in starts]


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item], threads: int) -> Iterator[Result]:
    """Map `work` over `items` in this many threads; yield the results in order."""
    if threads == 1 or len(items) < 2:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(min(threads, len(items)), thread_name_prefix="mmrag-onnx") as pool:
        yield from pool.map(work, items)


def check_files(model_dir: Path, kind: str) -> Path:
    """Return the graph of a model if its files are there.

    Raises:
        FileNotFoundError: one is missing.
    """
    for name in ("model.onnx", "tokenizer.json"):
        if not (model_dir / name).is_file():
            raise FileNotFoundError(
                f"the {kind} needs {name} in its folder, got {model_dir} without it. "
                "Reinstall mmrag, or pass the folder of an exported BERT encoder."
            )
    return model_dir / "model.onnx"


SUMS = "SHA256SUMS"
"""File of a model's folder with a line for each other file, ``<SHA-256>  <name>``, as sha256sum writes it."""


def check_sums(model_dir: Path) -> None:
    """Compare a model's files with the digests that its folder states; without `SUMS` compare nothing.

    Raises:
        ModelDamagedError: a file is another one, or a line is none of `SUMS`.
        FileNotFoundError: a file that is listed is missing.
    """
    sums = model_dir / SUMS
    if not sums.is_file():
        return
    for line in sums.read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not name or Path(name).name != name:
            raise ModelDamagedError(
                f"{sums} must have lines '<SHA-256>  <name>', got {line[:100]!r}. Reinstall mmrag."
            )
        actual_digest = file_digest(model_dir / name)
        if actual_digest != digest:
            raise ModelDamagedError(
                f"{model_dir / name} must have the SHA-256 {digest} that {SUMS} states, got {actual_digest}. "
                "The file is damaged or was replaced: reinstall mmrag, or remove the line if it is your own."
            )


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, cached while its size and time stay the same."""
    stat = path.stat()
    return _digest_of(str(path), stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=16)
def _digest_of(path: str, size: int, mtime_ns: int) -> str:
    """Compute the SHA-256 of a file; size and time are part of the cache key."""
    with Path(path).open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _clean(text: str) -> str:
    """Join surrogate pairs, replace lone surrogates, and part what spells a special token, as ``[SEP]``.

    The tokenizer takes valid Unicode only; it parts brackets itself, so nothing else changes.
    """
    return as_data(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def _pieces(text: str) -> Iterator[str]:
    """Cut a very long text at white space, or anywhere if there is none."""
    start = 0
    while len(text) - start > _TOKENIZER_CHUNK:
        end = start + _TOKENIZER_CHUNK
        cut = max(text.rfind(" ", start + 1, end), text.rfind("\n", start + 1, end))
        end = cut if cut > start else end
        yield text[start:end]
        start = end
    yield text[start:]
