"""The commands of ``raw2rank`` and ``make``: one module each."""
