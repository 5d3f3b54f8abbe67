"""PDF by PyMuPDF or PDFium: words, forms, comments, attachments, outline, XFA."""
