"""The label transforms of the package. One more is a file in this folder and an import here.

The import registers the transform for sweep files, recipes, searches and training; its `kind`
selects it. Transforms of plugins are registered by `w2s_ray.plugins`.
"""

from typing import TYPE_CHECKING

from w2s_ray.methods.kinds import kind_of, open_union
from w2s_ray.methods.transforms.absent import AbsentTransform
from w2s_ray.methods.transforms.class_prior import ClassPrior as ClassPrior
from w2s_ray.methods.transforms.confident import Confident as Confident
from w2s_ray.methods.transforms.consensus import Consensus as Consensus
from w2s_ray.methods.transforms.dawid_skene import DawidSkene as DawidSkene
from w2s_ray.methods.transforms.filter import Filter as Filter
from w2s_ray.methods.transforms.hard import Hard as Hard
from w2s_ray.methods.transforms.one_per_group import OnePerGroup as OnePerGroup
from w2s_ray.methods.transforms.overlap import Overlap as Overlap
from w2s_ray.methods.transforms.relabel import Relabel as Relabel
from w2s_ray.methods.transforms.selective import Selective as Selective
from w2s_ray.methods.transforms.shuffled_labels import ShuffledLabels as ShuffledLabels
from w2s_ray.methods.transforms.simulated import Simulated as Simulated
from w2s_ray.methods.transforms.specialists import Specialists as Specialists
from w2s_ray.methods.transforms.strata import Strata as Strata
from w2s_ray.methods.transforms.student_labels import StudentLabels as StudentLabels
from w2s_ray.methods.transforms.temperature import Temperature as Temperature
from w2s_ray.methods.transforms.transform import Transform as Transform
from w2s_ray.methods.transforms.trust import Trust as Trust
from w2s_ray.methods.transforms.weights import Weights as Weights

BUILT_IN = tuple(kind for kind in Transform.__subclasses__() if kind is not AbsentTransform)
"""The package's transforms."""
STAGES = tuple(kind for kind in BUILT_IN if not kind.of_chains)
"""Those of them that a sweep file can list as stages."""

if TYPE_CHECKING:
    AnyTransform = Transform
else:
    AnyTransform = open_union(BUILT_IN, base=Transform, absent=AbsentTransform)

ORACLES = frozenset(kind_of(kind) for kind in BUILT_IN if kind.uses_ground_truth)
"""Kinds of the transforms that use ground truth; plugins may not have any."""

SLICED = frozenset(kind_of(kind) for kind in BUILT_IN if "truth" in kind.model_fields)
"""Kinds of the transforms that use a slice of ground truth, with the setting `truth`."""
