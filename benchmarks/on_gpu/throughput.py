"""Section `throughput`: our torch engine, Hugging Face's Trainer and a bare loop on the same rows.

Owns the contestants, in bf16 with fused AdamW and clipping: `ours` is `w2s_ray.learn.fit`, plain,
with its rows copied from the host at each step, with compiled layers, and with recorded steps (CUDA
graphs); `trainer` is Hugging Face's Trainer with grouping by length; `bare` has
bf16 weights without autocast, which changes the arithmetic, so it is a bound and not a competitor.
Two passes over the same rows, of which the second counts. Tokens are real ones, without padding.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.on_gpu import measure, rows
from benchmarks.on_gpu.measure import Clock, Options
from benchmarks.on_gpu.shapes import Shape, chosen, random_weights, source_of
from w2s_ray.config import Execution, FitRecipe
from w2s_ray.learn import device_rows, kernels, torch_engine
from w2s_ray.learn.contract import StopRequested
from w2s_ray.learn.forms.classes import ClassData
from w2s_ray.learn.forms.data import FormData
from w2s_ray.learn.loop import fit
from w2s_ray.learn.tokens import TokenRows
from w2s_ray.learn.torch_engine import TorchEngine

COMPILING_S = 60.0
"""Added to the time of a measurement that compiles first."""
NAMES = ("gpt2-124m", "qwen2-0.5b", "llama-1.5b")


def run(options: Options) -> None:
    """Each shape by each contestant, in turn, `rounds` times; the ratio to Trainer at the end."""
    for shape in chosen(options.shapes, among=NAMES, small=options.toy):
        found: dict[str, float] = {}
        for turn in range(options.rounds):
            for name, contestant in CONTESTANTS.items():
                if options.contestants is not None and name not in options.contestants:
                    continue
                measure.clean(options.device)
                torch.backends.cuda.enable_cudnn_sdp(True)  # torch's default; our engine changes it
                try:
                    figures = contestant(shape, options)
                except measure.FAILURES as error:
                    options.emit(
                        "throughput", shape=shape.name, who=name, error=measure.line_of(error)
                    )
                    continue
                found[name] = figures["tokens_per_s"]
                options.emit("throughput", shape=shape.name, who=name, round=turn, **figures)
        if "ours" in found and len(found) > 1:
            options.emit(
                "throughput",
                shape=shape.name,
                **{f"{k} to {other}": found[k] / v for k, other, v in _ratios(found)},
            )


def _ratios(found: dict[str, float]) -> list[tuple[str, str, float]]:
    """Ours, in every way, against the others."""
    mine = [name for name in found if name.startswith("ours")]
    return [(k, other, v) for k in mine for other, v in found.items() if other not in mine]


def timed(clock: Clock, *, deepspeed: bool = False) -> Any:
    """A factory of engines whose steps `clock` counts."""
    if deepspeed:
        from w2s_ray.learn.deepspeed_engine import DeepSpeedEngine

        base: Any = DeepSpeedEngine
    else:
        base = TorchEngine

    class Timed(base):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            clock.start()

        def step(self, lr: float) -> None:
            super().step(lr)
            clock.step()

    return Timed


def train(
    shape: Shape,
    options: Options,
    *,
    data: FormData,
    recipe: FitRecipe,
    execution: Execution,
    clock: Clock,
) -> None:
    """A fit by our loop, until its end or until the clock is over."""
    with random_weights(options.device), contextlib.suppress(StopRequested):
        fit(
            recipe,
            data=data,
            source=source_of(shape, options.folder),
            execution=execution,
            observer=measure.Silent(),
            control=clock,
            engine=timed(clock, deepspeed=execution.engine == "deepspeed"),
            weights=options.folder / "weights",
        )


def ours(
    shape: Shape,
    options: Options,
    *,
    data: FormData | None = None,
    recipe: FitRecipe | None = None,
    execution: Execution | None = None,
) -> dict[str, Any]:
    """Figures of our loop and one of our engines."""
    data = data or rows.classes(shape, small=options.toy)
    recipe = recipe or rows.recipe()
    clock = Clock(options.device, at=measure.marks(shape.steps), seconds=options.seconds)
    train(
        shape,
        options,
        data=data,
        recipe=recipe,
        execution=execution or rows.execution(),
        clock=clock,
    )
    lengths = data.train.lengths
    steps = [lengths[batch] for batch in rows.batches(lengths, recipe)]
    return measure.rates(clock, steps=shape.steps, shape=shape, lengths_of_step=steps)


def trainer(shape: Shape, options: Options) -> dict[str, Any]:
    """Hugging Face's Trainer, used as in its documentation."""
    from transformers import (
        AutoConfig,
        AutoModelForSequenceClassification,
        PrinterCallback,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )
    from transformers.utils import logging

    logging.set_verbosity_error()
    data = rows.classes(shape, small=options.toy)
    config = AutoConfig.for_model(**shape.config, num_labels=2)
    with options.device:
        model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    clock = Clock(options.device, at=measure.marks(shape.steps), seconds=options.seconds)
    collator = _Padding(config.pad_token_id)

    class Timing(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            clock.start()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            clock.step()
            control.should_training_stop = control.should_training_stop or clock.over
            return control

    known = {field.name for field in dataclasses.fields(TrainingArguments)}
    grouping: Any = (
        {"train_sampling_strategy": "group_by_length"}
        if "train_sampling_strategy" in known
        else {"group_by_length": True}
    )
    arguments = TrainingArguments(
        output_dir=str(options.folder / "trainer"),
        per_device_train_batch_size=rows.BATCH,
        num_train_epochs=rows.EPOCHS,
        learning_rate=1e-5,
        lr_scheduler_type="cosine",
        bf16=True,
        optim="adamw_torch_fused",
        **grouping,
        logging_steps=10,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=options.device.type == "cpu",
    )
    made = Trainer(
        model=model,
        args=arguments,
        train_dataset=_Rows(data),
        data_collator=collator,
        callbacks=[Timing()],
    )
    made.remove_callback(PrinterCallback)
    made.train()
    return measure.rates(clock, steps=shape.steps, shape=shape, lengths_of_step=collator.lengths)


class _Rows(torch.utils.data.Dataset):
    """Rows in the format of Trainer."""

    def __init__(self, data: ClassData) -> None:
        assert not isinstance(data.train, tuple)
        self.data = data
        self.class_N = data.train_targets_NC.argmax(axis=1)

    def __len__(self) -> int:
        return len(self.data.train)

    def __getitem__(self, index: int) -> dict[str, Any]:
        ids = self.data.train.row(index)  # pyright: ignore
        return {"input_ids": ids.tolist(), "labels": int(self.class_N[index])}


class _Padding:
    """Pads a batch to its longest row, and records the lengths of every batch."""

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id
        self.lengths: list[np.ndarray] = []

    def __call__(self, batch: list[dict[str, Any]]) -> dict[str, Tensor]:
        lengths = np.array([len(row["input_ids"]) for row in batch])
        self.lengths.append(lengths)
        ids_BL = torch.full((len(batch), int(lengths.max())), self.pad_id)
        for i, row in enumerate(batch):
            ids_BL[i, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
        mask_BL = torch.arange(ids_BL.shape[1]) < torch.from_numpy(lengths)[:, None]
        return {
            "input_ids": ids_BL,
            "attention_mask": mask_BL.long(),
            "labels": torch.tensor([row["labels"] for row in batch]),
        }


def bare(shape: Shape, options: Options) -> dict[str, Any]:
    """A short training loop with bf16 weights."""
    from transformers import AutoConfig, AutoModel

    data, device = rows.classes(shape, small=options.toy), options.device
    assert isinstance(data.train, TokenRows)
    config = AutoConfig.for_model(**shape.config)
    with device:
        backbone = AutoModel.from_config(config, dtype=torch.bfloat16).train()
        head = nn.Linear(config.hidden_size, 2, bias=False, dtype=torch.bfloat16)
    weights = [*backbone.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=1e-5, weight_decay=0.0, fused=True)
    picked = rows.batches(data.train.lengths, rows.recipe())
    targets_NC = torch.from_numpy(data.train_targets_NC).to(device, torch.bfloat16)
    clock = Clock(device, at=measure.marks(shape.steps), seconds=options.seconds)
    clock.start()
    for batch in picked:
        ids_BL, lengths_B, batch_B = (
            torch.from_numpy(array).to(device) for array in (*data.train.pad(batch), batch)
        )
        hidden_BLD = backbone(input_ids=ids_BL, use_cache=False).last_hidden_state
        logits_BC = head(hidden_BLD[torch.arange(len(batch), device=device), lengths_B - 1])
        nn.functional.cross_entropy(logits_BC, targets_NC[batch_B]).backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        clock.step()
        if clock.over:
            break
    lengths = [data.train.lengths[batch] for batch in picked]
    return measure.rates(clock, steps=shape.steps, shape=shape, lengths_of_step=lengths)


def compiled(shape: Shape, options: Options, *, how: str = "on") -> dict[str, Any]:
    """Ours with compiled layers. The first pass includes the time of compiling and recording."""
    patient = dataclasses.replace(options, seconds=options.seconds + COMPILING_S)
    with compiler(options):
        return ours(shape, patient, execution=rows.execution(compile=how))


def from_host(shape: Shape, options: Options) -> dict[str, Any]:
    """Ours with rows that are padded on the host and copied to the device at each step."""
    with patch.object(device_rows, "SHARE", 0.0):
        return ours(shape, options)


@contextlib.contextmanager
def compiler(options: Options) -> Iterator[None]:
    """Torch's default compiler; at toy sizes one that generates no code, to save time."""
    if not options.toy:
        yield
        return
    compiling = functools.partial(kernels.compile_layers, backend="eager")
    with patch.object(torch_engine, "compile_layers", compiling):
        yield


CONTESTANTS = {
    "ours": ours,
    "ours from host": from_host,
    "ours compiled": compiled,
    "ours recorded": functools.partial(compiled, how="max"),
    "trainer": trainer,
    "bare": bare,
}
