"""Losses and label transforms: one file for each, with its settings and its computation.

Owns both, so that a new loss or transform is one file and one import. Losses use the methods of
tensors and import no torch; transforms import NumPy and scikit-learn when they are applied. It
trains nothing, and only simulated supervisors use ground truth.
"""
