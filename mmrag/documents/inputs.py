"""Find documents: from paths, globs, bytes and pictures to readable documents, and reasons for the rest.

Decisions taken here:

* The kind is decided by content. Where it is not read, the reason says what it is (`file_kinds`) and what to
  do, and names a suffix that says otherwise.
* A folder is walked in sorted order. Links to files are followed, links to folders are not (loops).
  Hidden files and folders, unknown kinds and special files are named as skipped.
* A path that exists is a path, even with ``*`` or ``[`` in its name; otherwise these make a glob.
* A folder that is an index of this package is passed over, wherever a folder or a pattern leads to it.
* A text that is a URL (``s3://``) names files of another file system, by fsspec; they are opened at once only
  for their kind and digest.
* A file object is read whole, from its start, whatever was read of it before; its position stays.
"""

from __future__ import annotations

import glob
import hashlib
import inspect
import io
import os
import re
import stat
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from mmrag.documents.conversion.kinds import SUFFIXES, office_kind, text_kind
from mmrag.documents.file_kinds import describe, text_content
from mmrag.documents.index_folders import INDEX_REASON, index_folder_of, is_index_folder
from mmrag.documents.remote import is_url, list_files, local_path, open_file
from mmrag.errors import DocumentError
from mmrag.types import Source

if TYPE_CHECKING:
    from PIL.Image import Image

Input: TypeAlias = "str | os.PathLike[str] | bytes | tuple[str, bytes] | IO[bytes] | Image"

_MOST_SHOWN = 100  # letters of a name in a message; a whole text may have been passed as one

_HEAD = 4096  # bytes looked at
_REMOTE_THREADS = 8  # files of a store that are hashed side by side
_CHUNK = 1 << 20

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"BM", "bmp"),
    (b"II*\x00", "tif"),
    (b"MM\x00*", "tif"),
    (b"II+\x00", "tif"),
    (b"MM\x00+", "tif"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "jp2"),
    (b"\xff\x4f\xff\x51", "j2k"),
    (b"\x00\x00\x01\x00", "ico"),
    (b"qoif", "qoi"),
    (b"\x0a\x05\x01", "pcx"),
)


@dataclass(frozen=True)
class InputDocument:
    """A document that looks readable.

    Attributes:
        source: kind, name and location.
        data: the bytes, for bytes, PIL input and attached files; None for a file.
        parent: of an attached file, the path or name of the document that carries it.
        url: of a file of another file system, whose bytes are fetched when they are read.
    """

    source: Source
    data: bytes | None = field(default=None, repr=False)
    parent: str | None = None
    url: str | None = None

    @property
    def name(self) -> str:
        """The name that tells it from others: its path, or the name of bytes and images."""
        if self.parent is not None:
            return f"{self.parent}/{self.source.name.rsplit('/', 1)[-1]}"
        return self.url or self.source.path or self.source.name


LOST_PAGE = "reading it "
"""How the reason of a page begins whose reading process ended: by a limit, a signal or a crash."""


@dataclass(frozen=True)
class Skipped:
    """Something that is not read, and why.

    Attributes:
        name: file name or path as the user would recognise it.
        reason: one line.
        page: 0-based number where one page of a document is meant.
        document_id: its document, where it has one.
    """

    name: str
    reason: str
    page: int | None = None
    document_id: str | None = None


def discover(inputs: Input | Iterable[Input], *, recursive: bool = True) -> Iterator[InputDocument | Skipped]:
    """Find documents.

    Args:
        inputs: one of, or a list, tuple, set or generator of: path of a file or folder, glob pattern,
            URL of one of these (``"s3://bucket/reports/*.pdf"``), bytes, ``(name, bytes)``, binary file
            object, PIL image.
        recursive: whether folders inside a folder are walked.

    Yields:
        `InputDocument` for each document, `Skipped` for each thing that is not one, in the order of the
        inputs, folders sorted by name.

    Raises:
        TypeError: an input is of none of these types, or a file object that gives text.
        ValueError: an input is an empty name, or a URL with a password.
        MissingExtraError: an input is a URL, and fsspec is not installed.
    """
    for value in _as_list(inputs):
        if isinstance(value, (bytes, bytearray, memoryview)):
            yield _from_bytes(None, bytes(value))
        elif _is_named_bytes(value):
            yield _from_bytes(value[0], bytes(value[1]))  # type: ignore[index]
        elif isinstance(value, str) and is_url(value):
            yield from _from_url(value, recursive)
        elif isinstance(value, (str, os.PathLike)):
            yield from _from_path(_checked_path(value), recursive)
        elif hasattr(value, "getexif") and hasattr(value, "save"):
            yield _from_picture(value)  # type: ignore[arg-type]
        elif hasattr(value, "read"):
            yield _from_bytes(*_read_file_object(value))
        else:
            raise TypeError(
                "an input must be a path, a glob, bytes, (name, bytes), a file object or a PIL image, "
                f"got {type(value).__name__}. Pass one of these, or a list of them."
            )


def _digest_stream(file: IO[bytes]) -> str:
    """Compute the SHA-256 of an open file from its start."""
    sha = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(_CHUNK):
        sha.update(chunk)
    return sha.hexdigest()


def _as_list(inputs: object) -> Iterable[object]:
    """Return the inputs as an iterable; a single input becomes a list of one."""
    single = isinstance(inputs, (str, os.PathLike, bytes, bytearray, memoryview, Mapping))
    single = single or hasattr(inputs, "getexif") or hasattr(inputs, "read")
    if single or _is_named_bytes(inputs) or not isinstance(inputs, Iterable):
        return [inputs]
    return inputs


def _checked_path(value: str | os.PathLike[str]) -> str:
    """Return a path or pattern as text.

    Raises:
        ValueError: it is empty, which the system takes for the current folder.
    """
    text = os.fspath(value)
    if not text.strip():
        raise ValueError(
            f"an input must name a file, a folder or a pattern, got {text!r}. "
            "For the current folder pass '.'."
        )
    return text


def _read_file_object(file: Any) -> tuple[str | None, bytes]:  # noqa: ANN401  whatever has `read`
    """Return the name of a file object, if it has one, and all its bytes.

    Raises:
        TypeError: it gives text, or must be awaited.
    """
    name = getattr(file, "name", None) or getattr(file, "filename", None)
    name = os.path.basename(name) if isinstance(name, str) else None  # noqa: PTH119  no path of ours
    if inspect.iscoroutinefunction(file.read):
        raise TypeError(
            f"a file object must be read without awaiting, got {type(file).__name__}. "
            "Pass its .file, or the bytes that its read() gives."
        )
    can_seek = hasattr(file, "seekable") and file.seekable()
    position = file.tell() if can_seek else 0
    if can_seek:
        file.seek(0)
    data = file.read()
    if can_seek:
        file.seek(position)
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(
            f"a file object must give bytes, got one of {type(data).__name__} ({type(file).__name__}). "
            "Open the file with 'rb'."
        )
    return name, bytes(data)


def _is_named_bytes(value: object) -> bool:
    """Check for a ``(name, bytes)`` pair."""
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], (bytes, bytearray, memoryview))
    )


def _from_path(text: str, recursive: bool) -> Iterator[InputDocument | Skipped]:
    """Yield the documents of a file, a folder or a pattern."""
    label = text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
    try:
        path = Path(text).expanduser()
        is_folder, is_file = path.is_dir(), path.is_symlink() or path.exists()
    except (OSError, RuntimeError) as error:  # a name too long, or of a user who is unknown
        yield Skipped(label, f"cannot be a file name ({getattr(error, 'strerror', None) or error})")
        return
    if is_folder:
        yield from _walk(path, recursive)
    elif is_file:
        yield _from_file(path)
    elif glob.has_magic(text):
        # pathlib's glob takes no absolute patterns
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207
        if not matches:
            yield Skipped(label, "the pattern matches nothing")
        yield from _from_matches(list(map(Path, matches)), path, recursive, has_walked="**" in text)
    else:
        yield Skipped(label, "there is no such file or folder")


def _from_matches(
    paths: list[Path], pattern: Path, recursive: bool, *, has_walked: bool
) -> Iterator[InputDocument | Skipped]:
    """Yield the documents of what a pattern matches, which has walked folders itself if it has ``**``."""
    start = next(number for number, part in enumerate(pattern.parts) if glob.has_magic(part))
    base = Path(*pattern.parts[:start])
    index_by_folder: dict[Path, Path | None] = {}
    told_indexes: set[Path] = set()
    for path in paths:
        if path.parent not in index_by_folder:
            index_by_folder[path.parent] = index_folder_of(path, base)
        index = index_by_folder[path.parent]
        if index is not None:
            if index not in told_indexes:
                yield Skipped(str(index), INDEX_REASON)
            told_indexes.add(index)
        elif not path.is_dir():
            yield _from_file(path)
        elif not has_walked:  # a pattern that names folders (reports/*) means what is in them
            yield from _walk(path, recursive)


def _walk(folder: Path, recursive: bool) -> Iterator[InputDocument | Skipped]:
    """Yield the documents of a folder in sorted order."""
    if is_index_folder(folder):
        yield Skipped(str(folder), INDEX_REASON)
        return
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        yield Skipped(str(folder), f"the folder cannot be read ({error.strerror})")
        return
    for path in paths:
        if path.name.startswith("."):
            yield Skipped(str(path), "hidden folder" if path.is_dir() else "hidden file")
        elif not path.is_dir():
            yield _from_file(path)
        elif path.is_symlink():
            yield Skipped(str(path), "a link to a folder is not followed")
        elif recursive:
            yield from _walk(path, recursive)


def _from_file(path: Path) -> InputDocument | Skipped:
    """Classify a file by its content."""
    name = str(path)
    try:
        if path.is_symlink() and not path.exists():
            return Skipped(name, f"dangling link to {path.readlink()}")
        # asked before opening: opening a named pipe waits for ever
        if not stat.S_ISREG(path.stat().st_mode):
            return Skipped(name, "not a regular file")
        with path.open("rb") as file:
            kind, reason = _sniff(file, name)
            if kind is None:
                return Skipped(name, reason)
            sha = _digest_stream(file)
    except OSError as error:
        return Skipped(name, f"cannot be read ({error.strerror or error})")
    # abspath, not resolve: a link keeps its own name and may be pointed elsewhere later
    return InputDocument(Source(sha, kind, path.name, os.path.abspath(path)))  # noqa: PTH100


def _from_url(url: str, recursive: bool) -> Iterator[InputDocument | Skipped]:
    """Yield the documents of a URL, a folder or a pattern of one."""
    path = local_path(url)
    if path is not None:
        yield from _from_path(_checked_path(path), recursive)
        return
    try:
        urls = list_files(url, recursive=recursive)
    except DocumentError as error:
        yield Skipped(url[:_MOST_SHOWN], str(error))
        return
    with ThreadPoolExecutor(_REMOTE_THREADS, thread_name_prefix="mmrag-remote") as threads:
        yield from threads.map(_from_remote_file, urls)


def _from_remote_file(url: str) -> InputDocument | Skipped:
    """Classify a file of another file system by its content."""
    name = url.rsplit("/", 1)[-1]
    if name.startswith("."):
        return Skipped(url, "hidden file")
    try:
        with open_file(url) as file:
            kind, reason = _sniff(file, name)
            if kind is None:
                return Skipped(url, reason)
            return InputDocument(Source(_digest_stream(file), kind, name), url=url)
    except Exception as error:  # noqa: BLE001  (of the store's own client: the report says it, file by file)
        return Skipped(url, str(error) if isinstance(error, DocumentError) else f"cannot be read ({error})")


def _from_bytes(name: str | None, data: bytes) -> InputDocument | Skipped:
    """Classify bytes by their content."""
    kind, detail = _sniff(io.BytesIO(data), name or "")
    if kind is None:
        return Skipped(name or f"{len(data)} bytes", detail)
    sha = hashlib.sha256(data).hexdigest()
    return InputDocument(Source(sha, kind, name or f"{sha[:8]}.{detail}"), data)


def _from_picture(picture: Image) -> InputDocument | Skipped:
    """Encode a PIL image as an upright PNG on white, as if it had been read from a file."""
    from mmrag.images import to_rgb

    if picture.width < 1 or picture.height < 1:
        return Skipped("PIL image", f"empty picture ({picture.width} x {picture.height})")
    buffer = io.BytesIO()
    to_rgb(picture).save(buffer, "PNG")
    data = buffer.getvalue()
    sha = hashlib.sha256(data).hexdigest()
    filename = Path(str(getattr(picture, "filename", "") or "")).name
    return InputDocument(Source(sha, "image", filename or f"image-{sha[:8]}.png"), data)


def _sniff(file: IO[bytes], name: str) -> tuple[str | None, str]:
    """Return ``(kind, extension)``, or ``(None, reason)`` for anything that is not a known document."""
    head = file.read(_HEAD)
    if not head:
        return None, "empty file"
    for magic, extension in _MAGIC:
        if head.startswith(magic):
            return "image", extension
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image", "webp"
    if head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis"):
        return "image", "avif"
    if b"%PDF-" in head[:1024]:
        return "pdf", "pdf"
    if head.startswith(b"PK"):
        kind = _sniff_zip(file)
        return (kind, kind) if kind else (None, _unknown(name, *describe(head, file)))
    if re.match(rb"P[1-6][\s#]", head):
        return "image", "ppm"
    if _is_svg(head):
        return "svg", "svg"
    suffix = Path(name).suffix.lower()
    kind = text_kind(text_content(head), suffix)
    if kind is not None:
        return kind, kind
    return None, _unknown(name, *describe(head, file))


def _is_svg(head: bytes) -> bool:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return text.startswith(b"<") and re.search(rb"<(?:\w+:)?svg[\s>]", text) is not None


def _sniff_zip(file: IO[bytes]) -> str | None:
    """Return the kind of document from the names in the archive: EPUB, XPS or an office file; or None."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            mimetype = b""
            if "mimetype" in names:
                with archive.open("mimetype") as member:
                    mimetype = member.read(100)
            if kind := office_kind(names, mimetype):
                return kind
            if "META-INF/container.xml" in names:
                return "epub"
            if any(name.lower().endswith((".fdseq", ".fpage")) for name in names):
                return "xps"
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, KeyError, NotImplementedError, EOFError):
        return None  # a damaged or encrypted archive is of no kind that is read; the caller says so
    return None


def _unknown(name: str, description: str, advice: str) -> str:
    """Word the reason for a kind that is not read and what to do; name a suffix that suggests another."""
    hint = f": {advice}" if advice else ""
    suffix = Path(name).suffix.lower()
    known_suffixes = {
        ".pdf",
        ".xps",
        ".epub",
        ".svg",
        ".png",
        ".jpg",
        ".jpeg",
        ".tif",
        ".tiff",
        ".webp",
        ".gif",
        ".bmp",
    }
    if suffix in known_suffixes or suffix in SUFFIXES:
        return f"its name ends in {suffix}, but its content is {description}{hint}"
    return f"{description}{hint}; PDF, XPS, EPUB, SVG, office, text and picture files are read"
