"""Training objectives: what a model is asked to make small."""
