"""Sequence files: a user and his items on a line."""
