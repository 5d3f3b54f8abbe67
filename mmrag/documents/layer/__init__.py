"""The text layer of a page: words with their style put in order, and what no eye sees of them."""
