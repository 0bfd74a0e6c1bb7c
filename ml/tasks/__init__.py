"""Training tasks: what of a sequence is shown, and what is to be predicted from it."""
