"""Files in, a stream of pages out."""
