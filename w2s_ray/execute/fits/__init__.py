"""Carrying out fits: the watch over one, the floor that admits it, its host, its job.

Owns everything between a planned fit and its record. It knows nothing of studies and of the order
of runs.
"""
