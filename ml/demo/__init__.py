"""The demo dump: made-up reviews with behaviour to learn from and dirt to clean."""
