"""Answers written by a served model, checked against the pages it was shown."""
