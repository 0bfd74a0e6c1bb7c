"""From raw dumps to training sets: landing, the demo dump, sequences and item text."""
