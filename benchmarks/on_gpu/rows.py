"""Rows of random tokens for `benchmarks/gpu.py`, in every form that a fit takes.

Owns their number and lengths: 64 to 512 tokens, evenly, from a seed. Shapes: B rows of a batch.
"""

from __future__ import annotations

import numpy as np

from benchmarks.on_gpu.shapes import Shape
from w2s_ray.config import Execution, FitRecipe, FormName, Training, XentLoss
from w2s_ray.learn.batches import epoch_batches
from w2s_ray.learn.forms.answers import AnswerData
from w2s_ray.learn.forms.classes import ClassData
from w2s_ray.learn.forms.text import TextData
from w2s_ray.learn.rows import SpanRows
from w2s_ray.learn.tokens import TokenRows

BATCH, EPOCHS = 32, 2
LENGTHS, TOY_LENGTHS = (64, 512), (4, 16)
ANSWER, TOY_ANSWER = 16, 4


def tokens(shape: Shape, rows: int, *, small: bool, seed: int = 0) -> TokenRows:
    """Rows of random tokens."""
    shortest, longest = TOY_LENGTHS if small else LENGTHS
    generator = np.random.default_rng(seed)
    lengths = generator.integers(shortest, longest + 1, rows)
    return TokenRows.of([generator.integers(1, shape.vocabulary, length) for length in lengths])


def classes(shape: Shape, *, small: bool) -> ClassData:
    """Texts of two classes, without validation."""
    rows = tokens(shape, shape.steps * BATCH, small=small)
    class_1 = np.random.default_rng(1).random(len(rows)).astype(np.float32)
    none = TokenRows.of([])
    return ClassData(
        train=rows,
        train_targets_NC=np.stack([1 - class_1, class_1], axis=1),
        validation=none,
        validation_targets_MC=np.zeros((0, 2), np.float32),
    )


def text(shape: Shape, *, small: bool) -> TextData:
    """Running text: every token except a row's first is a target."""
    rows = tokens(shape, shape.steps * BATCH, small=small)
    return TextData(SpanRows(rows, np.ones(len(rows), np.int64)), SpanRows.of([]))


def answers(shape: Shape, *, small: bool) -> AnswerData:
    """Prompts, of which the last tokens are the answer."""
    rows, most = tokens(shape, shape.steps * BATCH, small=small), TOY_ANSWER if small else ANSWER
    starts = np.maximum(1, rows.lengths - most)
    prompts = TokenRows.of([rows.row(i)[: starts[i]] for i in range(min(len(rows), 2 * BATCH))])
    return AnswerData(
        train=SpanRows(rows, starts),
        validation=SpanRows.of([]),
        validation_answers=(),
        predict={"test": prompts},
        texts=lambda made_MK: tuple(str(row.tolist()) for row in made_MK),
        stop_id=0,
        most=most,
    )


def recipe(*, form: FormName = "classes", **training: object) -> FitRecipe:
    """A fit of two passes in bf16, with settings that a sweep would have."""
    settings = {"batch_size": BATCH, "epochs": EPOCHS, "lr": 1e-5, "precision": "bf16"}
    return FitRecipe(
        split="none",
        form=form,
        train_on="student_half",
        model="sha256:random",
        labels="ground_truth",  # pyright: ignore
        training=Training.model_validate({**settings, **training}),
        loss=XentLoss(),
        seed=0,
        predicts=("test",),
    )


def batches(lengths: np.ndarray, fit: FitRecipe, *, epochs: int = EPOCHS) -> list[np.ndarray]:
    """The rows of every step, as the loop orders them."""
    return [
        rows
        for epoch in range(epochs)
        for rows in epoch_batches(
            lengths,
            batch_size=fit.training.batch_size,
            bucket_batches=fit.bucket_batches,
            seed=0,
            epoch=epoch,
        )
    ]


def execution(**settings: object) -> Execution:
    """Execution on the device, or on the CPU where there is none."""
    return Execution.model_validate(settings)
