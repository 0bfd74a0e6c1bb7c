"""Code assignments: each item of the catalogue as a short tuple of small integers."""
