"""Item-level encoders that predict identifiers: one state a history, and a head for each way to predict codes."""
