"""From a ranking to an answer with the places that prove it."""
