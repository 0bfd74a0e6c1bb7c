"""Language models: one that writes queries for the next item, and one that ranks candidates without training."""
