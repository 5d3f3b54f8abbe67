"""Checks of an office file, a zip archive of XML, before any library opens it.

* An archive that would unpack to more than `MOST_BYTES`, or has more than `MOST_MEMBERS`, is refused.
* XML that declares entities is refused: no office program writes them, and a few lines of them unpack to
  gigabytes or name files and addresses.
* A file with a password is named as one.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator

from mmrag.errors import DocumentError

MOST_BYTES = 1 << 29
MOST_MEMBERS = 20_000
MOST_XML = 1 << 28
"""Bytes of one XML member."""

_DECLARATION = re.compile(rb"<!\s*(ENTITY|DOCTYPE)", re.I)
_XML_SUFFIXES = (".xml", ".rels", ".vml")
_CHUNK = 1 << 20


def open_archive(data: bytes, name: str) -> zipfile.ZipFile:
    """Open an office file.

    Args:
        data: the whole file.
        name: for messages.

    Raises:
        DocumentError: it is damaged, too large when unpacked, encrypted, or declares entities.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError) as error:
        raise DocumentError(f"{name}: a damaged zip archive ({error}).") from error
    total = sum(member.file_size for member in members)
    if total > MOST_BYTES or len(members) > MOST_MEMBERS:
        raise DocumentError(
            f"{name}: an office file must unpack to at most {MOST_BYTES >> 20} MiB in {MOST_MEMBERS} "
            f"members, got {total >> 20} MiB in {len(members)}."
        )
    if any(member.flag_bits & 1 for member in members):
        raise DocumentError(f"{name}: an archive with a password. Remove the password.")
    for member in members:
        if member.filename.lower().endswith(_XML_SUFFIXES):
            _check_xml(archive, member, name)
    if _is_locked(archive):
        raise DocumentError(f"{name}: an OpenDocument file with a password. Remove the password.")
    return archive


def read_member(archive: zipfile.ZipFile, member: str, name: str) -> bytes:
    """Return a member's bytes.

    Raises:
        DocumentError: it is not there, damaged or too large.
    """
    try:
        info = archive.getinfo(member)
        if info.file_size > MOST_XML:
            raise DocumentError(f"{name}: {member} must have at most {MOST_XML >> 20} MiB, got more.")
        return archive.read(info)
    except KeyError as error:
        raise DocumentError(f"{name}: {member} is missing from it.") from error
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise DocumentError(f"{name}: {member} is damaged ({error}).") from error


def _check_xml(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> None:
    """Refuse a member that declares entities or a document type."""
    try:
        with archive.open(member) as file:
            declares = _declares(iter(lambda: file.read(_CHUNK), b""))
    except Exception as error:
        raise DocumentError(f"{name}: {member.filename} is damaged ({error}).") from error
    # OpenOffice 1 and 2 wrote a document type in the manifest, and there alone
    if b"ENTITY" in declares or (b"DOCTYPE" in declares and member.filename != "META-INF/manifest.xml"):
        raise DocumentError(f"{name}: its XML declares a document type or entities, which is refused.")


def _declares(chunks: Iterator[bytes]) -> set[bytes]:
    """Return which of ``DOCTYPE`` and ``ENTITY`` XML declares, wherever a comment may have moved them."""
    declarations: set[bytes] = set()
    tail = b""
    for chunk in chunks:
        # UTF-16 is the other encoding that XML parsers take without being told
        text = tail + (chunk.replace(b"\0", b"") if b"\0" in chunk else chunk)
        declarations |= {match.group(1).upper() for match in _DECLARATION.finditer(text)}
        tail = text[-32:]
    return declarations


def _is_locked(archive: zipfile.ZipFile) -> bool:
    """Check whether an OpenDocument file is encrypted: its manifest says so for every member."""
    try:
        return b"encryption-data" in archive.read("META-INF/manifest.xml")
    except (KeyError, zipfile.BadZipFile, ValueError, OSError, RuntimeError):
        return False
