"""Training one model on one label set: tokens, models, losses, engines and the one loop.

It knows recipes, models and devices. It refuses to know Ray, stores, sweeps and roles: a caller
hands in texts as tokens and labels as arrays, and takes probabilities back. Importing this package
loads nothing heavy; its modules import torch, and DeepSpeed only when an engine of it is built.
"""
