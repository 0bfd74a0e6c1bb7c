"""Where a benchmark itself is weak: what its numbers owe to ties, duplicates, leaks and shortcuts.

One module an audit. Each is a function from data and fitted recommenders to an :class:`~ml.audits.audit.Audit`, which
a report prints and a check reads.
"""
