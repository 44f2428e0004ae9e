"""The sections of `benchmarks/gpu.py`, one module each, and their common code."""
