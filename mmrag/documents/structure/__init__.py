"""Structure of pages: headings, paragraphs, lists, tables, pictures, running heads, in reading order.

A `StructureReader` finds regions on a page; `assembly` makes them blocks of the page's own words. Two
readers are there: `pymupdf_layout` (PyMuPDF's layout and table models, the default) and `plain` (lines by
rules, tables by pdfplumber), chosen by `mmrag.documents.opening`. Nothing heavy is imported before it is
used.
"""

from __future__ import annotations
