"""The sample documents: one file a document, and the questions asked of them."""
