"""What a PDF does by itself, taken out of a copy: scripts, programs, forms that send, media, attached files.

A highlighted document is passed on by people who trust it. So it shows what the original shows and runs
nothing: each action but a jump inside the document and a link to a web or mail address is emptied, wherever
it stands (on opening, on a page, a field, a bookmark, in the list of scripts). Attached files, media and the
XFA form beside the plain one go, too. Texts, pictures, links, bookmarks, fields with their values stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

ACTIONS = frozenset(
    [
        "JavaScript",
        "Launch",
        "SubmitForm",
        "ImportData",
        "ResetForm",
        "GoToR",
        "GoToE",
        "GoToDp",
        "GoTo3DView",
        "Thread",
        "Hide",
        "SetOCGState",
        "Rendition",
        "Sound",
        "Movie",
        "RichMediaExecute",
        "Trans",
    ]
)
"""Types of action (PDF 2.0, table 201) that are emptied: all but GoTo, URI and Named."""

ANNOTATIONS = frozenset(["FileAttachment", "RichMedia", "Screen", "Movie", "Sound", "3D"])
"""Types of annotation that carry a file, or play one."""

SCHEMES = frozenset(("http", "https", "mailto"))
"""Of the addresses that a link may keep."""

CATALOG_KEYS = ("OpenAction", "AA", "Collection", "AF", "Requirements", "NeedsRendering")
NAME_KEYS = ("JavaScript", "EmbeddedFiles", "Renditions", "AlternatePresentations")
FILE_KEYS = ("F", "UF", "DOS", "Mac", "Unix")
"""Of a dictionary of embedded files, which stands under ``EF``: so may a font, by its name in a page."""


def remove_active_content(document: Any) -> None:  # noqa: ANN401  (PyMuPDF is not typed)
    """Take out of an open PDF all that acts or is carried along; saving with ``garbage=1`` drops the rest.

    Args:
        document: a `pymupdf.Document` of a PDF; it is changed.

    Raises:
        RuntimeError: PyMuPDF's, of a damaged file.
    """
    import pymupdf
    from pymupdf import mupdf

    pdf = pymupdf._as_pdf_document(document)
    for number in range(1, mupdf.pdf_count_objects(pdf)):
        try:
            top = mupdf.pdf_load_object(pdf, number)
        except mupdf.FzErrorBase:  # damaged: MuPDF shows nothing of it, another reader might
            mupdf.pdf_delete_object(pdf, number)
            continue
        for dictionary in _dictionaries(mupdf, top):
            _empty_active(mupdf, dictionary)
    catalog = mupdf.pdf_dict_gets(mupdf.pdf_trailer(pdf), "Root")
    _delete(mupdf, catalog, CATALOG_KEYS)
    _delete(mupdf, mupdf.pdf_dict_gets(catalog, "Names"), NAME_KEYS)
    _delete(mupdf, mupdf.pdf_dict_gets(catalog, "AcroForm"), ("XFA",))


def _dictionaries(mupdf: Any, top: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield an object's dictionaries, those inside it too; what it refers to is an object of its own."""
    stack = [top]
    while stack:
        value = stack.pop()
        if mupdf.pdf_is_array(value):
            stack += _direct(
                mupdf, [mupdf.pdf_array_get(value, n) for n in range(mupdf.pdf_array_len(value))]
            )
        elif mupdf.pdf_is_dict(value):
            size = mupdf.pdf_dict_len(value)
            stack += _direct(mupdf, [mupdf.pdf_dict_get_val(value, n) for n in range(size)])
            yield value


def _direct(mupdf: Any, values: list[Any]) -> list[Any]:  # noqa: ANN401
    return [value for value in values if not mupdf.pdf_is_indirect(value)]


def _empty_active(mupdf: Any, dictionary: Any) -> None:  # noqa: ANN401
    """Empty an action or annotation of the types above, and drop the bytes of an embedded file."""
    if _is_active_action(mupdf, dictionary) or _is_player(mupdf, dictionary):
        _empty(mupdf, dictionary)
    files = mupdf.pdf_dict_gets(dictionary, "EF")
    if mupdf.pdf_is_dict(files) and any(mupdf.pdf_dict_gets(files, key).m_internal for key in FILE_KEYS):
        _delete(mupdf, dictionary, ("EF",))


def _is_active_action(mupdf: Any, dictionary: Any) -> bool:  # noqa: ANN401
    kind = _name(mupdf, dictionary, "S")
    if kind == "URI":
        return not _is_kept(mupdf.pdf_to_text_string(mupdf.pdf_dict_gets(dictionary, "URI")))
    return kind in ACTIONS and _name(mupdf, dictionary, "Type") != "StructElem"


def _is_player(mupdf: Any, dictionary: Any) -> bool:  # noqa: ANN401
    kind, subtype = (_name(mupdf, dictionary, key) for key in ("Type", "Subtype"))
    return subtype in ANNOTATIONS and kind in ("", "Annot")


def _is_kept(address: str) -> bool:
    try:
        return urlsplit(address.strip()).scheme.lower() in SCHEMES
    except ValueError:  # brackets that are no address of IPv6
        return False


def _name(mupdf: Any, dictionary: Any, key: str) -> str:  # noqa: ANN401
    value = mupdf.pdf_dict_gets(dictionary, key)
    return str(mupdf.pdf_to_name(value)) if mupdf.pdf_is_name(value) else ""


def _empty(mupdf: Any, dictionary: Any) -> None:  # noqa: ANN401
    for number in reversed(range(mupdf.pdf_dict_len(dictionary))):
        mupdf.pdf_dict_del(dictionary, mupdf.pdf_dict_get_key(dictionary, number))


def _delete(mupdf: Any, dictionary: Any, keys: tuple[str, ...]) -> None:  # noqa: ANN401
    if mupdf.pdf_is_dict(dictionary):
        for key in keys:
            mupdf.pdf_dict_dels(dictionary, key)
