"""Accuracy against a goal beyond it: fronts, hypervolumes, and what a goal costs.

A *series* is one way to trade nDCG for a goal: lists at several trade-offs, from a start, which is after accuracy
alone, to the goal alone. Examples are a re-ranking with tradeoffs from 0 to 1, and the policies of an alignment with
several weights of the goal. Series of the same goal are compared with one another on the same test users.
"""
