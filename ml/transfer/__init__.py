"""Pre-training on several datasets, for a model that is finetuned on another."""
