"""Re-ranking: the candidates of any recommender, chosen anew with a goal beyond accuracy in mind."""
