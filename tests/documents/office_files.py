"""Files of twelve formats, drawn for the tests: each part of a file has a word of its own.

DOCX, ODT, ODP and ODS are written as the XML that they are; PPTX and XLSX by python-pptx and openpyxl.
"""

from __future__ import annotations

import io
import struct
import zipfile
from datetime import date

# ruff: noqa: E501  (XML is read better in one line)

FORMATS = ("docx", "pptx", "xlsx", "odt", "odp", "ods", "html", "md", "txt", "csv", "tsv", "eml")

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
OFFICE = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{path}:1.0"'
    for name, path in {
        "office": "office", "text": "text", "table": "table", "draw": "drawing", "style": "style",
        "presentation": "presentation", "svg": "svg-compatible", "number": "datastyle",
    }.items()
)  # fmt: skip


def zipped(files: dict[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            stored = zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED
            archive.writestr(name, content, stored)
    return buffer.getvalue()


def docx(body: str = "", relations: str = "") -> bytes:
    """A heading, a paragraph, a table, a page header, a footnote and a comment."""
    relation = f"{R}/"
    main = "application/vnd.openxmlformats-officedocument.wordprocessingml"
    body = body or (
        '<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>Docxheading</w:t></w:r></w:p>'
        "<w:p><w:r><w:t>The docxparagraph of Lisbon costs 48,210 euros.</w:t></w:r>"
        '<w:r><w:footnoteReference w:id="2"/></w:r><w:commentRangeStart w:id="0"/>'
        '<w:commentRangeEnd w:id="0"/><w:r><w:commentReference w:id="0"/></w:r></w:p>'
        "<w:tbl><w:tblPr/><w:tblGrid><w:gridCol/><w:gridCol/></w:tblGrid>"
        "<w:tr><w:tc><w:p><w:r><w:t>City</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>Cost</w:t></w:r></w:p></w:tc></w:tr>"
        "<w:tr><w:tc><w:p><w:r><w:t>Docxcell</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>7</w:t></w:r></w:p></w:tc></w:tr>"
        "</w:tbl>"
        '<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>Outlook</w:t></w:r></w:p>'
        "<w:p><w:r><w:t>Nothing changes.</w:t></w:r></w:p>"
        f'<w:sectPr><w:headerReference xmlns:r="{R}" w:type="default" r:id="h"/></w:sectPr>'
    )
    separators = "".join(
        f'<w:footnote w:type="{name}" w:id="{number}"><w:p><w:r><w:{name}/></w:r></w:p></w:footnote>'
        for number, name in enumerate(("separator", "continuationSeparator"))
    )
    note = '<w:{0} w:id="{1}"><w:p><w:r><w:t>{2}</w:t></w:r></w:p></w:{0}>'
    return zipped(
        {
            "[Content_Types].xml": '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            '<Default Extension="xml" ContentType="application/xml"/>'
            f'<Override PartName="/word/document.xml" ContentType="{main}.document.main+xml"/>'
            f'<Override PartName="/word/styles.xml" ContentType="{main}.styles+xml"/>'
            f'<Override PartName="/word/header1.xml" ContentType="{main}.header+xml"/>'
            f'<Override PartName="/word/footnotes.xml" ContentType="{main}.footnotes+xml"/>'
            f'<Override PartName="/word/comments.xml" ContentType="{main}.comments+xml"/></Types>',
            "_rels/.rels": '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            f'<Relationship Id="r" Type="{relation}officeDocument" Target="word/document.xml"/></Relationships>',
            "word/_rels/document.xml.rels": '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            f'<Relationship Id="s" Type="{relation}styles" Target="styles.xml"/>'
            f'<Relationship Id="h" Type="{relation}header" Target="header1.xml"/>'
            f'<Relationship Id="f" Type="{relation}footnotes" Target="footnotes.xml"/>'
            f'<Relationship Id="c" Type="{relation}comments" Target="comments.xml"/>{relations}</Relationships>',
            "word/styles.xml": f'<?xml version="1.0"?><w:styles {W}><w:style w:type="paragraph" w:styleId="Heading1">'
            '<w:name w:val="heading 1"/><w:pPr><w:outlineLvl w:val="0"/></w:pPr></w:style></w:styles>',
            "word/header1.xml": f'<?xml version="1.0"?><w:hdr {W}><w:p><w:r><w:t>Docxheader</w:t></w:r></w:p></w:hdr>',
            "word/footnotes.xml": f'<?xml version="1.0"?><w:footnotes {W}>{separators}{note.format("footnote", 2, "Docxfootnote")}</w:footnotes>',
            "word/comments.xml": f'<?xml version="1.0"?><w:comments {W}>{note.format("comment", 0, "Docxcomment")}</w:comments>',
            "word/document.xml": f'<?xml version="1.0"?><w:document {W}><w:body>{body}</w:body></w:document>',
        }
    )


def pptx() -> bytes:
    """Slides with a title, a text, a table and notes; the second slide is hidden."""
    from pptx import Presentation
    from pptx.util import Inches

    deck = Presentation()
    for number in (1, 2, 3):
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text = f"Pptxtitle {number}"
        slide.placeholders[1].text = "Pptxhidden" if number == 2 else f"Pptxpoint of slide {number}"
    slide.notes_slide.notes_text_frame.text = "Pptxnotes"
    cells = slide.shapes.add_table(1, 1, Inches(1), Inches(5), Inches(3), Inches(1)).table
    cells.cell(0, 0).text = "Pptxcell"
    deck.slides[1]._element.set("show", "0")
    return _saved(deck)


def xlsx(rows: int = 90) -> bytes:
    """A sheet of prices, a sheet that is hidden, a hidden row, a formula that no program has computed."""
    from openpyxl import Workbook
    from openpyxl.comments import Comment

    book = Workbook()
    sheet = book.active
    sheet.title = "Prices"
    sheet.append(["Item", "Price", "Share", "Day"])
    for number in range(rows):
        sheet.append([f"Item{number}", number * 1234.5, number / 100, date(2024, 1, 1)])
    for row in sheet.iter_rows(min_row=2):
        row[1].number_format, row[2].number_format, row[3].number_format = "#,##0.00", "0.0%", "dd.mm.yyyy"
    sheet["E1"], sheet["E2"] = "Sum", "=2000+345"
    sheet["A2"].comment = Comment("Xlsxcomment", "Ann")
    sheet["A3"] = "Xlsxhiddenrow"
    sheet.row_dimensions[3].hidden = True
    hidden = book.create_sheet("Lists")
    hidden.sheet_state, hidden["A1"] = "hidden", "Xlsxhiddensheet"
    return _saved(book)


def open_document(kind: str, body: str, styles: str = "") -> bytes:
    """An OpenDocument file with this body."""
    mimetype = f"application/vnd.oasis.opendocument.{kind}"
    names = '<manifest:file-entry manifest:full-path="{}" manifest:media-type="{}"/>'
    entries = names.format("/", mimetype) + names.format("content.xml", "text/xml")
    return zipped(
        {
            "mimetype": mimetype,
            "META-INF/manifest.xml": '<?xml version="1.0"?><manifest:manifest '
            'xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0" manifest:version="1.2">'
            f"{entries}</manifest:manifest>",
            "content.xml": f'<?xml version="1.0"?><office:document-content {OFFICE} office:version="1.2" '
            f'xmlns:xlink="http://www.w3.org/1999/xlink"><office:automatic-styles>{styles}</office:automatic-styles>'
            f"<office:body>{body}</office:body></office:document-content>",
        }
    )


def odt() -> bytes:
    """A heading, a paragraph, a table, a footnote and a comment."""
    cell = "<table:table-cell><text:p>{}</text:p></table:table-cell>"
    return open_document(
        "text",
        '<office:text><text:h text:outline-level="1">Odtheading</text:h>'
        "<text:p>The odtparagraph of Oslo<office:annotation><text:p>Odtcomment</text:p></office:annotation> has "
        '31 days.<text:note text:note-class="footnote"><text:note-citation>1</text:note-citation>'
        "<text:note-body><text:p>Odtfootnote</text:p></text:note-body></text:note></text:p>"
        f'<table:table><table:table-column table:number-columns-repeated="2"/><table:table-row>{cell.format("Odtcell")}'
        f"{cell.format('9')}</table:table-row></table:table></office:text>",
    )


def odp() -> bytes:
    """Slides with a text and notes; the second slide is hidden."""
    frame = '<draw:frame svg:width="20cm" svg:height="3cm" svg:x="2cm" svg:y="2cm"><draw:text-box><text:p>{}</text:p></draw:text-box></draw:frame>'
    notes = "<presentation:notes>" + frame.format("Odpnotes") + "</presentation:notes>"
    slide = '<draw:page draw:name="p{0}" draw:style-name="{1}">{2}{3}</draw:page>'
    style = '<style:style style:name="{}" style:family="drawing-page"><style:drawing-page-properties presentation:visibility="{}"/></style:style>'
    return open_document(
        "presentation",
        "<office:presentation>"
        + slide.format(1, "dp1", frame.format("Odppoint of slide 1"), "")
        + slide.format(2, "dp2", frame.format("Odphidden"), "")
        + slide.format(3, "dp1", frame.format("Odppoint of slide 3"), notes)
        + "</office:presentation>",
        style.format("dp1", "visible") + style.format("dp2", "hidden"),
    )


def ods() -> bytes:
    """A sheet with values and what is shown of them, a hidden sheet and a hidden row."""
    cell = (
        '<table:table-cell office:value-type="float" office:value="{}"><text:p>{}</text:p></table:table-cell>'
    )
    text = '<table:table-cell office:value-type="string">{1}<text:p>{0}</text:p></table:table-cell>'
    note = "<office:annotation><text:p>Odscomment</text:p></office:annotation>"
    row = "<table:table-row{}>{}</table:table-row>"
    style = '<style:style style:name="{}" style:family="table"><style:table-properties table:display="{}"/></style:style>'
    return open_document(
        "spreadsheet",
        '<office:spreadsheet><table:table table:name="Heights" table:style-name="ta1"><table:table-column/>'
        + row.format("", text.format("Port", "") + text.format("Height", note))
        + row.format("", text.format("Dover", "") + cell.format("6.8", "6.80 m"))
        + row.format(' table:visibility="collapse"', text.format("Odshiddenrow", ""))
        + '</table:table><table:table table:name="Lists" table:style-name="ta2">'
        + row.format("", text.format("Odshiddensheet", ""))
        + "</table:table></office:spreadsheet>",
        style.format("ta1", "true") + style.format("ta2", "false"),
    )


HTML = b"""<!DOCTYPE html><html><head><meta charset="iso-8859-1"><title>Htmltitle</title><style>p {color: red}</style>
<link rel="stylesheet" href="http://127.0.0.1:1/x.css"></head><body><h1>Htmlheading</h1>
<p>High water at D\xfcnkirchen is at 11:42.</p><p style="display:none">Htmlhidden</p><script>Htmlscript</script>
<img src="http://127.0.0.1:1/x.png" alt="Htmlalt"><h2>Moon</h2><table><tr><th>Port</th><th>Height</th></tr>
<tr><td>Htmlcell</td><td>6.8 m</td></tr></table></body></html>"""

MARKDOWN = b"""# Mdheading

Employees have 27 days of mdparagraph.

## Carry over

Up to 5 days. <b>Mdmarkup</b>

| Country | Days |
|---|---|
| Mdcell | 31 |

```
mdcode = 1
```
"""

MAIL = b"""From: Ann <ann@example.org>
To: Bob <bob@example.org>
Date: Tue, 03 Sep 2024 10:00:00 +0200
Subject: =?utf-8?q?Emlsubject_=C3=BCber_778?=
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="b"

--b
Content-Type: multipart/alternative; boundary="c"

--c
Content-Type: text/plain; charset=utf-8

The emlbody of 1,240 euros is overdue.

--c
Content-Type: text/html; charset=utf-8

<p>Emlother</p>
--c--
--b
Content-Type: text/plain; name="inv.txt"
Content-Disposition: attachment; filename="inv.txt"

Emlattachment
--b--
"""

TEXT = "Zähler 4711 steht im Txtkeller.\nDie Pumpe läuft mit 12 bar.\n\nEnde der Liste.\n".encode("cp1252")
CSV = b'city;people\nOslo;709037\n"Csvcell\nof two lines";291940\nBergen;5\n'
TSV = b"city\tpeople\nTsvcell\t709037\n"


def locked() -> bytes:
    """An OLE file as Office writes one with a password."""
    head = bytearray(512)
    head[:8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    struct.pack_into("<H", head, 30, 9)
    struct.pack_into("<I", head, 48, 0)
    names = ("Root Entry", "EncryptedPackage")
    return bytes(head) + b"".join(name.encode("utf-16-le").ljust(128, b"\0") for name in names)


def draw(kind: str) -> bytes:
    """The file of a format."""
    makers = {"docx": docx, "pptx": pptx, "xlsx": xlsx, "odt": odt, "odp": odp, "ods": ods}
    texts = {"html": HTML, "md": MARKDOWN, "txt": TEXT, "csv": CSV, "tsv": TSV, "eml": MAIL}
    return texts[kind] if kind in texts else makers[kind]()


def _saved(document) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()
