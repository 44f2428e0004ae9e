"""What a user declares: the sweep file, and the recipes that it is made into.

Owns frozen pydantic models and their errors. It reads nothing but the sweep file itself.
"""

from w2s_ray.spec.declared import Columns, Method, Model, Task
from w2s_ray.spec.execution import Execution, Limits
from w2s_ray.spec.load import SweepError, load_sweep, parse_sweep
from w2s_ray.spec.recipe import PARTS, FitRecipe, ModelSource, Part, StudyRecipe
from w2s_ray.spec.search import Pair, Search, TaskPair
from w2s_ray.spec.settings import (
    ConfidenceLoss,
    ConfidenceReferenceLoss,
    EarlyStopping,
    FitSettings,
    FullTuning,
    LoraTuning,
    Loss,
    ProductLoss,
    Training,
    XentLoss,
)
from w2s_ray.spec.space import Branch, Distribution, OneOf, branch, branches, grid_size
from w2s_ray.spec.sweep import Sweep

__all__ = [
    "PARTS",
    "Branch",
    "Columns",
    "ConfidenceLoss",
    "ConfidenceReferenceLoss",
    "Distribution",
    "EarlyStopping",
    "Execution",
    "FitRecipe",
    "FitSettings",
    "FullTuning",
    "Limits",
    "LoraTuning",
    "Loss",
    "Method",
    "Model",
    "ModelSource",
    "OneOf",
    "Pair",
    "Part",
    "ProductLoss",
    "Search",
    "StudyRecipe",
    "Sweep",
    "SweepError",
    "Task",
    "TaskPair",
    "Training",
    "XentLoss",
    "branch",
    "branches",
    "grid_size",
    "load_sweep",
    "parse_sweep",
]
