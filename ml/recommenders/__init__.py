"""Every kind of recommender by name: what there is, how it is fitted, how it is loaded."""
