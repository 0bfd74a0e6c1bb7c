"""Content of a report as HTML, Markdown, plots and files."""
