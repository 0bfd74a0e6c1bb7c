"""The libraries whose versions a report prints."""

# What numbers may depend on, beside this project's own code.
LIBRARIES = (
    "numpy",
    "torch",
    "scikit-learn",
    "bm25s",
    "PyStemmer",
    "duckdb",
    "dbt-core",
    "dbt-duckdb",
    "pyarrow",
    "great-expectations",
    "dagster",
)
