"""What a model sees of a task: rows of each part, lengths in tokens, rendered rows, baselines.

`make` computes an overview from the rows of a split; `rows` gets these from a task's data or from a
store; `reader` reads texts as a model's tokenizer does; `baselines` trains the simple classifiers.
Nothing here reads a task's source, imports torch or writes to a store.
"""

from w2s_ray.data.overview.make import make_overview
from w2s_ray.data.overview.reader import ModelUse
from w2s_ray.data.overview.rows import TaskRows
from w2s_ray.data.overview.sentences import sentences
from w2s_ray.data.overview.values import Baseline, PartCounts, TaskOverview, TokenLengths

__all__ = [
    "Baseline",
    "ModelUse",
    "PartCounts",
    "TaskOverview",
    "TaskRows",
    "TokenLengths",
    "make_overview",
    "sentences",
]
