"""Probes: predictions of a row's label from activations, fitted to the weak labels of all rows.

Owns k nearest neighbours, logistic regression and TopoFilter (Wu et al. 2020, as EleutherAI uses
it). They use no ground truth. Shapes: N rows, D width, C classes, K neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from w2s_ray.frozen import Frozen

if TYPE_CHECKING:
    import numpy as np


class Knn(Frozen):
    """Predict a row's label as the mean label of its nearest neighbours, without the row itself."""

    kind: Literal["knn"] = "knn"
    k: int = Field(default=50, ge=1, le=1_000_000)
    """Number of neighbours, by Euclidean distance. With fewer rows, all of them."""

    def predict(self, activations_ND: np.ndarray, labels_NC: np.ndarray) -> np.ndarray:
        """label_NC of each row, predicted from the other rows."""
        return labels_NC[neighbours(activations_ND, self.k)].mean(axis=1)

    def kept(self, activations_ND: np.ndarray, labels_NC: np.ndarray, share: float) -> np.ndarray:
        """kept_N, without the `share` of rows whose label the probe contradicts most."""
        return _without_worst(self.predict(activations_ND, labels_NC), labels_NC, share)


class Logistic(Frozen):
    """Predict a row's label by logistic regression on the activations."""

    kind: Literal["logistic"] = "logistic"
    l2: float = Field(default=1e-2, gt=0, le=1e9)
    """Weight of the squared norm of the coefficients, added to the mean cross-entropy."""

    def predict(self, activations_ND: np.ndarray, labels_NC: np.ndarray) -> np.ndarray:
        """label_NC of each row. A soft label is fitted as one row of each class, with weights."""
        import numpy as np
        from sklearn.linear_model import LogisticRegression

        rows, classes = labels_NC.shape
        wide_ND = np.tile(activations_ND.astype(np.float64), (classes, 1))
        class_N, weight_N = np.repeat(np.arange(classes), rows), labels_NC.T.reshape(-1)
        present = weight_N > 0
        if len(np.unique(class_N[present])) < 2:
            return labels_NC
        model = LogisticRegression(C=1 / (2 * self.l2 * rows), max_iter=2000, tol=1e-6)
        model.fit(wide_ND[present], class_N[present], sample_weight=weight_N[present])
        predicted_NC = np.zeros(labels_NC.shape)
        predicted_NC[:, model.classes_] = model.predict_proba(activations_ND.astype(np.float64))
        return predicted_NC

    def kept(self, activations_ND: np.ndarray, labels_NC: np.ndarray, share: float) -> np.ndarray:
        """kept_N, without the `share` of rows whose label the probe contradicts most."""
        return _without_worst(self.predict(activations_ND, labels_NC), labels_NC, share)


class TopoFilter(Frozen):
    """Predict by neighbours in the largest connected component of each class (Wu et al. 2020)."""

    kind: Literal["topofilter"] = "topofilter"
    k: int = Field(default=50, ge=1, le=1_000_000)
    """Number of neighbours, by Euclidean distance. With fewer rows, all of them."""

    def predict(self, activations_ND: np.ndarray, labels_NC: np.ndarray) -> np.ndarray:
        """label_NC of each row, predicted from its neighbours in the components, without itself."""
        core_N = self.core(activations_ND, labels_NC)
        near_NK = neighbours(activations_ND, self.k, among_N=core_N)
        return labels_NC[near_NK].mean(axis=1)

    def kept(self, activations_ND: np.ndarray, labels_NC: np.ndarray, share: float) -> np.ndarray:
        """kept_N, without the rows outside the components, and without the rows inside whose label
        neighbours contradict most, until at least the `share` is dropped.
        """
        import numpy as np

        core_N = self.core(activations_ND, labels_NC)
        more = max(round(share * len(core_N)) - int((~core_N).sum()), 0)
        inside = np.flatnonzero(core_N)
        near_MK = neighbours(activations_ND[inside], self.k)
        predicted_MC = labels_NC[inside][near_MK].mean(axis=1)
        distance_M = np.abs(predicted_MC - labels_NC[inside]).sum(axis=1)
        kept_N = core_N.copy()
        kept_N[inside[np.argsort(-distance_M, kind="stable")[:more]]] = False
        return kept_N

    def core(self, activations_ND: np.ndarray, labels_NC: np.ndarray) -> np.ndarray:
        """core_N: rows in the largest strongly connected component of their (hard) class."""
        import numpy as np
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import connected_components

        rows, class_N = len(labels_NC), labels_NC.argmax(axis=1)
        near_NK = neighbours(activations_ND, self.k)
        start_E, end_E = np.repeat(np.arange(rows), near_NK.shape[1]), near_NK.reshape(-1)
        same_E = class_N[start_E] == class_N[end_E]
        edges = (np.ones(int(same_E.sum())), (start_E[same_E], end_E[same_E]))
        graph = csr_array(edges, shape=(rows, rows))
        _, component_N = connected_components(graph, connection="strong")
        core_N = np.zeros(rows, dtype=bool)
        for one in np.unique(class_N):
            largest = np.bincount(component_N[class_N == one]).argmax()
            core_N |= (class_N == one) & (component_N == largest)
        return core_N


Probe = Annotated[Knn | Logistic | TopoFilter, Field(discriminator="kind")]


def neighbours(
    activations_ND: np.ndarray, k: int, *, among_N: np.ndarray | None = None
) -> np.ndarray:
    """near_NK: the nearest rows of each row among the rows `among_N`, without the row itself."""
    import numpy as np
    from sklearn.neighbors import NearestNeighbors

    rows = len(activations_ND)
    inside = np.arange(rows) if among_N is None else np.flatnonzero(among_N)
    if len(inside) < 2:
        return np.arange(rows)[:, None]
    most = min(k, len(inside) - 1)
    wide_ND = activations_ND.astype(np.float64)
    search = NearestNeighbors(n_neighbors=most + 1, algorithm="brute").fit(wide_ND[inside])
    near_NK = inside[search.kneighbors(wide_ND, return_distance=False)]
    own_NK = near_NK == np.arange(rows)[:, None]
    own_NK[~own_NK.any(axis=1), -1] = True  # else drop the farthest
    return near_NK[~own_NK].reshape(rows, most)


def _without_worst(predicted_NC: np.ndarray, labels_NC: np.ndarray, share: float) -> np.ndarray:
    import numpy as np

    distance_N = np.abs(predicted_NC - labels_NC).sum(axis=1)
    kept_N = np.ones(len(labels_NC), dtype=bool)
    kept_N[np.argsort(-distance_N, kind="stable")[: round(share * len(labels_NC))]] = False
    return kept_N
