"""Vectors of texts, for whatever compares items by what they are called. Nothing here opens a network connection."""
