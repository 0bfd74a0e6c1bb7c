"""Decoding: from the log-probabilities of codes, level by level, to ranked items.

Every item has a unique identifier of several codes, and all identifiers form a prefix tree (:mod:`ml.codes.trie`).
A beam search walks it for many users at once (:mod:`ml.generation.beam_search`), :mod:`ml.generation.lists` turns what
it finds into recommendations, and :mod:`ml.generation.exact` scores every item.
"""
