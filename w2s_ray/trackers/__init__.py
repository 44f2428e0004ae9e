"""Reporting fits to TensorBoard, MLflow and Weights & Biases through their own APIs.

Owns what is reported of a fit and the clients that send it. It imports no Ray: `execute` runs it in
a process beside the sweep, so that a slow or failing tracker costs a warning and no run.
"""
