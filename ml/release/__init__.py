"""Releases: a recommender as one folder that serves, and what is made with it."""
