"""The label transforms. A new transform is a file in this folder and an import here.

The import registers the transform for sweep files, recipes, searches and training; its `kind`
selects it.
"""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from w2s_ray.methods.transforms.class_prior import ClassPrior as ClassPrior
from w2s_ray.methods.transforms.confident import Confident as Confident
from w2s_ray.methods.transforms.consensus import Consensus as Consensus
from w2s_ray.methods.transforms.dawid_skene import DawidSkene as DawidSkene
from w2s_ray.methods.transforms.filter import Filter as Filter
from w2s_ray.methods.transforms.hard import Hard as Hard
from w2s_ray.methods.transforms.overlap import Overlap as Overlap
from w2s_ray.methods.transforms.relabel import Relabel as Relabel
from w2s_ray.methods.transforms.shuffled_labels import ShuffledLabels as ShuffledLabels
from w2s_ray.methods.transforms.simulated import Simulated as Simulated
from w2s_ray.methods.transforms.temperature import Temperature as Temperature
from w2s_ray.methods.transforms.transform import Transform as Transform
from w2s_ray.methods.transforms.weights import Weights as Weights

if TYPE_CHECKING:
    AnyTransform = Transform
else:
    AnyTransform = Annotated[reduce(or_, Transform.__subclasses__()), Field(discriminator="kind")]

ORACLES = frozenset(
    str(kind.model_fields["kind"].default)
    for kind in Transform.__subclasses__()
    if kind.uses_ground_truth
)
"""Kinds of the transforms that use ground truth."""
