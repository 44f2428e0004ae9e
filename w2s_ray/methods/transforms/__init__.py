"""The label transforms. A new one is a file beside these, and a line here.

A transform is found by its `kind`; a line here is all that makes it known to sweep files, recipes,
searches and training.
"""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from w2s_ray.methods.transforms.confident import Confident as Confident
from w2s_ray.methods.transforms.filter import Filter as Filter
from w2s_ray.methods.transforms.hard import Hard as Hard
from w2s_ray.methods.transforms.relabel import Relabel as Relabel
from w2s_ray.methods.transforms.simulated import Simulated as Simulated
from w2s_ray.methods.transforms.temperature import Temperature as Temperature
from w2s_ray.methods.transforms.transform import Transform as Transform

if TYPE_CHECKING:
    AnyTransform = Transform
else:
    AnyTransform = Annotated[reduce(or_, Transform.__subclasses__()), Field(discriminator="kind")]

ORACLES = frozenset(
    str(kind.model_fields["kind"].default) for kind in Transform.__subclasses__() if kind.sees_truth
)
"""Kinds of the transforms that see ground truth."""
