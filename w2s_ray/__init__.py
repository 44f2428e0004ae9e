"""Weak-to-strong generalization experiments as sweeps on Ray."""
