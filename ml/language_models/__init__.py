"""Causal language models that write queries for the next item."""
