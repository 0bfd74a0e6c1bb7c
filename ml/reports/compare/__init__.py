"""Two written reports side by side."""
