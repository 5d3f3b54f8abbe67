"""How good a ranking is, measured."""
