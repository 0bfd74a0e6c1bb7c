"""Additions to the Dagster web server: a guard and report pages."""
