"""The report of a run: what it holds (``content``), and the same as HTML, Markdown and plots.

``collect`` reads a dataset's lake folder into a ``ReportContent``; ``html``, ``markdown`` and ``plots`` turn
one into something to look at, and read nothing themselves.
"""
