"""The raw2rank library: from files of interactions to rankings, metrics and reports.

Nothing below this package imports Dagster, dbt or Great Expectations; it is used from a notebook, a shell
or a training host alike. Import direction: data < recommenders (baselines, codes, models) < training <
evaluation < reports.
"""
