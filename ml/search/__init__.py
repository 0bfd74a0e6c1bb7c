"""Search of a recipe's values, by validation nDCG@10."""
