"""The losses. A new loss is a file in this folder and an import here.

The import registers the loss for sweep files, recipes, searches and training; its `kind` selects
it.
"""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

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

if TYPE_CHECKING:
    AnyLoss = Loss
else:
    AnyLoss = Annotated[reduce(or_, Loss.__subclasses__()), Field(discriminator="kind")]
