"""Hyperparameter search without Ray: proposals, pruning, and the curves that both compare.

Owns which settings trial n tries, when a trial is pruned, and which trial is best, as functions of
a study's recipe and its trials. It trains nothing and reads no store.
"""
