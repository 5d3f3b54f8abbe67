"""From files to records of an index: adding, page pictures, and another embedder over the same pages."""
