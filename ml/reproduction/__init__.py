"""Published results, and whether ours reach them: claims, the fits that test them, and the table of verdicts."""
