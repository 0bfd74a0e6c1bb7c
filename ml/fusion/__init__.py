"""Fusion: one ranking made of the lists of several recommenders, and the search for their weights."""
