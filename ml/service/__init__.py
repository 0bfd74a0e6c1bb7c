"""A released recommender behind HTTP: the application, its limits, its figures, and the exchange of releases.

Needs the extra ``serve``.
"""
