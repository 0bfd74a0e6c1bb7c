"""What helps on a dataset: each recommender that adds something, compared with the plain one that lacks only this."""
