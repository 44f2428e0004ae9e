"""The losses of the package. One more is a file in this folder and an import here.

The import registers the loss for sweep files, recipes, searches and training; its `kind` selects
it. Losses of plugins are registered by `w2s_ray.plugins`.
"""

from typing import TYPE_CHECKING

from w2s_ray.methods.kinds import open_union
from w2s_ray.methods.losses.absent import AbsentLoss
from w2s_ray.methods.losses.adaptive_confidence import (
    AdaptiveConfidenceLoss as AdaptiveConfidenceLoss,
)
from w2s_ray.methods.losses.confidence import ConfidenceLoss as ConfidenceLoss
from w2s_ray.methods.losses.confidence_reference import (
    ConfidenceReferenceLoss as ConfidenceReferenceLoss,
)
from w2s_ray.methods.losses.entropy import EntropyLoss as EntropyLoss
from w2s_ray.methods.losses.evidential import EvidentialLoss as EvidentialLoss
from w2s_ray.methods.losses.kl import KLLoss as KLLoss
from w2s_ray.methods.losses.loss import Loss as Loss
from w2s_ray.methods.losses.mixture import MixtureLoss as MixtureLoss
from w2s_ray.methods.losses.product import ProductLoss as ProductLoss
from w2s_ray.methods.losses.reverse_xent import CACELoss as CACELoss
from w2s_ray.methods.losses.reverse_xent import ReverseXentLoss as ReverseXentLoss
from w2s_ray.methods.losses.reverse_xent import SymmetricXentLoss as SymmetricXentLoss
from w2s_ray.methods.losses.weighted_xent import WeightedXentLoss as WeightedXentLoss
from w2s_ray.methods.losses.window import WindowLoss as WindowLoss
from w2s_ray.methods.losses.xent import XentLoss as XentLoss

BUILT_IN = tuple(kind for kind in Loss.__subclasses__() if kind is not AbsentLoss)
"""The package's losses."""

if TYPE_CHECKING:
    AnyLoss = Loss
else:
    AnyLoss = open_union(BUILT_IN, base=Loss, absent=AbsentLoss)
