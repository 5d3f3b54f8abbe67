"""mmrag-mini, the package's own small model: pixels and text to nested rows, without torch."""
