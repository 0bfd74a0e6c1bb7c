"""Teacher and student: lists of a fitted recommender, made once, that another model learns to write."""
