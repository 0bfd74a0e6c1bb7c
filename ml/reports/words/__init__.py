"""The sentences and labels of a report, computed from its content alone."""
