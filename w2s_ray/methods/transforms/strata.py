"""Weights rows by strata of two kinds of consensus: of supervisors, and of neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from w2s_ray.methods.transforms.probes import neighbours
from w2s_ray.methods.transforms.transform import LabelledRows, Transform

if TYPE_CHECKING:
    import numpy as np


class Strata(Transform):
    """Dual consensus (DC-W2S, Chan et al. 2026, arXiv 2603.08095): strata by the consensus of
    supervisors and by that of neighbours, of which the worst is left out and the others count the
    same. Needs the stage `ensemble`.

    A row's supervisors agree if at least `share` of them predict the class of its mean label. Its
    neighbours agree if the mean label of at least `near` of them has that class; they are the `k`
    nearest rows by the pretrained student's activations. The four strata are both, one and neither.
    The paper's balanced sampling is here a weight for each row, the same sum for every stratum that
    has rows; its curriculum is left out, and its thresholds and `k` are our choice.
    """

    kind: Literal["strata"] = "strata"
    share: float = Field(default=1.0, gt=0, le=1)
    """Share of the supervisors that must agree."""
    k: int = Field(default=10, ge=1, le=1_000_000)
    """Number of neighbours, by Euclidean distance. With fewer rows, all of them."""
    near: float = Field(default=0.8, ge=0, le=1)
    """Share of the neighbours that must agree."""
    mask: bool = True
    """true: rows on which neither supervisors nor neighbours agree are dropped."""
    balance: bool = True
    """true: each stratum has the same sum of weights. false: each row has the same weight."""

    keeps_labels: ClassVar[bool] = True

    @property
    def takes_each_supervisor(self) -> bool:
        return True

    def apply(self, rows: LabelledRows) -> LabelledRows:
        import numpy as np

        stratum_N = self.strata(rows)
        kept_N = (stratum_N > 0) if self.mask else np.ones(len(stratum_N), dtype=bool)
        made, stratum_N = rows.keeping(kept_N), stratum_N[kept_N]
        if not self.balance or len(stratum_N) == 0:
            return made
        _, place_N, counts = np.unique(stratum_N, return_inverse=True, return_counts=True)
        return made.weighted(len(stratum_N) / (len(counts) * counts[place_N]))

    def strata(self, rows: LabelledRows) -> np.ndarray:
        """The stratum of each row, int64 [N]: 2 if supervisors agree, plus 1 if neighbours do."""
        each_KNC = rows.labels_KNC if rows.labels_KNC is not None else rows.labels_NC[None]
        class_N = rows.labels_NC.argmax(axis=1)
        agreed_N = (each_KNC.argmax(axis=2) == class_N).mean(axis=0) >= self.share - 1e-9
        near_NK = neighbours(rows.activations_ND, self.k)
        same_N = (class_N[near_NK] == class_N[:, None]).mean(axis=1) >= self.near - 1e-9
        return 2 * agreed_N.astype(int) + same_N
