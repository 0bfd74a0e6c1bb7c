"""dbt as a process, and why its result may be empty."""
