"""Telling TensorBoard, MLflow and Weights & Biases of every fit, through Ray's own callbacks.

Owns what a tracker is told and the process that tells it, beside the sweep: a tracker that is slow
or fails costs a warning, never a run. Importing the package imports no Ray; its modules may.
"""
