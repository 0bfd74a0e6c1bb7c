"""Alignment of models that write lists, by reinforcement learning, towards diversity, novelty and the long tail."""
