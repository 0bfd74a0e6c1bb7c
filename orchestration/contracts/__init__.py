"""Data contracts: read from YAML, checked by Great Expectations, shown in the UI and in Data Docs."""
