"""Recommenders that need no training beyond counting: the rows every model has to be compared with."""
