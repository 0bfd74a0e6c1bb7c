"""Codes: each item of the catalogue as a short tuple of small integers.

A recipe (:mod:`ml.codes.recipe`, TOML files in ``ml/recipes/codes``) says by which method codes are assigned and with
how many books; a method is one module of this package (:mod:`ml.codes.registry`).
"""
