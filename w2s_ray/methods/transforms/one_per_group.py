"""Gives exactly one row of each group class 1."""

from __future__ import annotations

from typing import ClassVar, Literal

from w2s_ray.methods.transforms.transform import LabelledRows, Transform


class OnePerGroup(Transform):
    """In each group of rows, label the row with the largest probability of class 1 with 1 and the
    others with 0: the consistency of unsupervised elicitation (Wen et al. 2025, arXiv 2506.10139).

    For tasks whose groups have one right row, such as the answers to a question
    (`columns.group`). Rows without a group, or alone in it, keep their labels; `balance` may have
    left rows out of a group. Validation rows get such labels, too.
    """

    kind: Literal["one_per_group"] = "one_per_group"

    labels_validation: ClassVar[bool] = True

    def apply(self, rows: LabelledRows) -> LabelledRows:
        import numpy as np

        labels_NC, groups_N = rows.labels_NC.copy(), rows.groups_N
        order_N = np.lexsort((rows.rows_N, -labels_NC[:, 1], groups_N))  # the largest first
        starts_N = np.ones(len(order_N), bool)
        starts_N[1:] = groups_N[order_N][1:] != groups_N[order_N][:-1]
        first_N = np.zeros(len(order_N), bool)
        first_N[order_N] = starts_N
        _, group_N, sizes = np.unique(groups_N, return_inverse=True, return_counts=True)
        decided_N = (groups_N >= 0) & (sizes[group_N] > 1)
        labels_NC[decided_N] = np.eye(2, dtype=np.float32)[first_N[decided_N].astype(int)]
        return rows.relabelled(labels_NC)
