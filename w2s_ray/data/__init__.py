"""Reads the tasks and models of a sweep: tasks become splits, models become identities.

Owns file formats, splitting, and resolving names to content. It imports no torch, Ray or
transformers, and the libraries of the Hugging Face hub only to read from the hub.
"""

from w2s_ray.data.example import Example, Rows
from w2s_ray.data.inputs import Inputs, SplitRef, load_split, resolve, split_ref
from w2s_ray.data.models import model_source
from w2s_ray.data.sources import SourceUnavailable
from w2s_ray.data.split import Split, make_split
from w2s_ray.data.tasks import EMBEDDED, TASKS

__all__ = [
    "EMBEDDED",
    "TASKS",
    "Example",
    "Inputs",
    "Rows",
    "SourceUnavailable",
    "Split",
    "SplitRef",
    "load_split",
    "make_split",
    "model_source",
    "resolve",
    "split_ref",
]
