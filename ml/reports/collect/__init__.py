"""From the files of a dataset to the content of its report."""
