"""The sweep file, and the recipes that runs are made of, as frozen pydantic models.

Owns these models, their checks and their error messages. It reads the sweep file and no other file.
"""

from w2s_ray.config.chain import Link, chain
from w2s_ray.config.columns import FILES_LABEL, Columns
from w2s_ray.config.declared import Method, Model, Pretrain
from w2s_ray.config.execution import CPU_PASS_TOKENS, GPU_CONTEXT, LOGITS_AT_ONCE, Execution, Limits
from w2s_ray.config.forms import FORMS, TASK_FORMS, Form, FormName
from w2s_ray.config.load import (
    SweepError,
    SweepFile,
    load_sweep,
    overrides_in,
    parse_sweep,
    read_sweep,
    sweep_text,
)
from w2s_ray.config.pair_models import PairModel, Policy, RewardModel
from w2s_ray.config.recipe import (
    PARTS,
    FitRecipe,
    Labels,
    ModelSource,
    Part,
)
from w2s_ray.config.search import GroundTruth, Pair, Search, TaskPair
from w2s_ray.config.series import BoostingStage, CoSupervisedStage
from w2s_ray.config.settings import (
    SAN_TOKENS,
    EarlyStopping,
    FitSettings,
    PretrainArchitecture,
    Training,
)
from w2s_ray.config.space import Branch, Distribution, OneOf, branch, branches, grid_size
from w2s_ray.config.stages import (
    BootstrapStage,
    Completions,
    ElicitStage,
    EnsembleStage,
    GenerativeStage,
    IterateStage,
    LinearProbeStage,
    Prompt,
    PromptStage,
    SelfConsistencyStage,
    Stage,
)
from w2s_ray.config.study import StudyRecipe
from w2s_ray.config.sweep import Sweep
from w2s_ray.config.tasks import (
    ALL_ROWS,
    Bounds,
    Difficulty,
    Join,
    OwnPart,
    PartFile,
    Task,
)
from w2s_ray.config.trackers import MLflow, TensorBoard, Trackers, Wandb
from w2s_ray.config.tuning import (
    FullTuning,
    LastLayersTuning,
    LoraTuning,
    LpFtTuning,
    ProbeTuning,
    Tuning,
)
from w2s_ray.methods.losses import (
    ConfidenceLoss,
    ConfidenceReferenceLoss,
    EntropyLoss,
    KLLoss,
    Loss,
    ProductLoss,
    WindowLoss,
    XentLoss,
)

__all__ = [
    "ALL_ROWS",
    "CPU_PASS_TOKENS",
    "FILES_LABEL",
    "FORMS",
    "GPU_CONTEXT",
    "LOGITS_AT_ONCE",
    "PARTS",
    "SAN_TOKENS",
    "TASK_FORMS",
    "BoostingStage",
    "BootstrapStage",
    "Bounds",
    "Branch",
    "CoSupervisedStage",
    "Columns",
    "Completions",
    "ConfidenceLoss",
    "ConfidenceReferenceLoss",
    "Difficulty",
    "Distribution",
    "EarlyStopping",
    "ElicitStage",
    "EnsembleStage",
    "EntropyLoss",
    "Execution",
    "FitRecipe",
    "FitSettings",
    "Form",
    "FormName",
    "FullTuning",
    "GenerativeStage",
    "GroundTruth",
    "IterateStage",
    "Join",
    "KLLoss",
    "Labels",
    "LastLayersTuning",
    "Limits",
    "LinearProbeStage",
    "Link",
    "LoraTuning",
    "Loss",
    "LpFtTuning",
    "MLflow",
    "Method",
    "Model",
    "ModelSource",
    "OneOf",
    "OwnPart",
    "Pair",
    "PairModel",
    "Part",
    "PartFile",
    "Policy",
    "Pretrain",
    "PretrainArchitecture",
    "ProbeTuning",
    "ProductLoss",
    "Prompt",
    "PromptStage",
    "RewardModel",
    "Search",
    "SelfConsistencyStage",
    "Stage",
    "StudyRecipe",
    "Sweep",
    "SweepError",
    "SweepFile",
    "Task",
    "TaskPair",
    "TensorBoard",
    "Trackers",
    "Training",
    "Tuning",
    "Wandb",
    "WindowLoss",
    "XentLoss",
    "branch",
    "branches",
    "chain",
    "grid_size",
    "load_sweep",
    "overrides_in",
    "parse_sweep",
    "read_sweep",
    "sweep_text",
]
