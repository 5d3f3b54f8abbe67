"""Four packs of drawn documents with their truth; `scripts/make_packs.py` writes them."""
