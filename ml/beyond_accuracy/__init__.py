"""Lists beyond accuracy: measures of diversity, novelty and popularity, goals to optimise, and fronts.

:mod:`~ml.beyond_accuracy.measures` holds the measures of lists as plain functions, :mod:`~ml.beyond_accuracy.vectors`
the vectors of items that distances are computed from, :mod:`~ml.beyond_accuracy.goals` the goals that re-ranking and
alignment optimise, and :mod:`~ml.beyond_accuracy.fronts` Pareto fronts and hypervolumes.
"""
