"""The best items of many: exact top-k with a fixed order of ties, over dense and quantised embeddings."""
