"""The assets, one module per layer: settings, raw, warehouse, training_sets, baselines, codes, models, evaluation."""
