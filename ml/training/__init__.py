"""Recipes, and the one loop that trains every sequential model."""

import os

# Read when torch is loaded: threads that wait for each other sleep. The default is to spin, which on a machine with
# other work takes the processor from the very thread that is waited for (docs/defaults.md has figures).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
