"""Recommenders measured in several temporal folds, and compared over all of them."""
