"""What many pages cost: the arithmetic of `mmrag plan`."""
