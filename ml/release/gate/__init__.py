"""The gate: whether a candidate replaces the champion."""
