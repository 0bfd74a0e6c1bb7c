"""Recipes, and the one loop that trains every sequential model."""
