"""What the Dagster web server gets from us: a guard and pages of reports."""
