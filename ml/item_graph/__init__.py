"""The graph of items that follow one another: counts, neighbours and rings of hops."""
