"""Small made-up inputs, and what happens to each: the table in docs/inputs.md comes from a run over them.

``python -m tests.inputs`` writes the page. ``tests/unit/test_inputs.py`` compares every input with what is expected of
it here, and the page with a run.
"""
