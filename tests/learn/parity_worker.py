"""What one DeepSpeed worker of `test_deepspeed.py` runs: many small fits, one after another."""

from __future__ import annotations

import faulthandler
import gc
import itertools
import os
import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.learn.test_choices import choice_data
from tests.learn.test_forms import answer_data, pair_data
from tests.learn.test_policies import policy_data
from tests.learn.test_prompting import PROMPT, TEXTS
from tests.learn.tiny import (
    CommandAt,
    Recorder,
    category_data,
    data_of,
    recipe_of,
    source_of,
)
from w2s_ray.config import LOGITS_AT_ONCE, Execution, FitRecipe, Policy
from w2s_ray.errors import InputError
from w2s_ray.fits.stored_activations import stored_activations
from w2s_ray.learn import inference, vocabulary_head
from w2s_ray.learn.activations import activations
from w2s_ray.learn.checkpoints import FolderCheckpoints
from w2s_ray.learn.contract import LeaveRequested, StopRequested
from w2s_ray.learn.engines import build_engine
from w2s_ray.learn.forms.model import FormModel
from w2s_ray.learn.loop import fit
from w2s_ray.learn.probe_engine import ProbeEngine
from w2s_ray.learn.prompting import PromptData, predict_by_words, prompt_rows
from w2s_ray.learn.rows import ActivationRows
from w2s_ray.store import Store
from w2s_ray.store.checkpoints import StoredCheckpoints


class SharedFolder(FolderCheckpoints):
    """One folder that all workers write their shards of a state into."""

    def save(self, step: int, write: Any) -> None:
        import torch.distributed as distributed

        unfinished, target = self.folder / "unfinished", self.folder / f"step-{step}"
        unfinished.mkdir(parents=True, exist_ok=True)
        distributed.barrier()
        write(unfinished)
        distributed.barrier()
        if distributed.get_rank() == 0:
            unfinished.rename(target)
        distributed.barrier()


class DivergingCheckpoints(StoredCheckpoints):
    """The last worker finds no checkpoint, as if its connection to the store had failed."""

    def latest(self) -> Path | None:
        folder = super().latest()
        return None if self._rank == self._workers - 1 else folder


class Predicting(Recorder):
    """Predicts test at every evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.test: list[np.ndarray] = []

    def evaluated(self, **seen: Any) -> None:
        super().evaluated(**seen)
        self.test.append(seen["predict"]("test").probabilities)


def worker(rank: int, workers: int, port: int, folder: Path, jobs: dict[str, Any]) -> None:
    """Run every job; worker 0 leaves what they gave in `result-{workers}.pickle`."""
    import torch.distributed as distributed

    torch.load = torch.save = no_pickle
    faulthandler.enable()  # an abort then shows where each thread was

    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "WORLD_SIZE": str(workers),
        "LOCAL_RANK": str(rank),
        "OMP_NUM_THREADS": "1",
    }
    if workers > 1:
        distributed.init_process_group("gloo")
    found = {name: run_job(folder, workers, job) for name, job in jobs.items()}
    gc.collect()
    found["models left"] = sum(isinstance(each, FormModel) for each in gc.get_objects())
    if rank == 0:
        (folder / f"result-{workers}.pickle").write_bytes(pickle.dumps(found))
    # Gloo's threads may abort a process that ends without (pytorch issue 190489).
    if distributed.is_initialized():
        distributed.destroy_process_group()


def no_pickle(*_: Any, **__: Any) -> Any:
    """In place of torch's functions that write and read pickles."""
    raise AssertionError("a checkpoint is no pickle")


def settled(folder: Path, job: dict[str, Any]) -> tuple[FitRecipe, dict[str, Any]]:
    """A job's recipe, and what it is trained on and from: `data`, `source`."""
    form = job.get("form", "classes")
    rows, training = form, job.get("training")
    if form == "policies":
        rows, training = "pairs", {**training, "pair_model": Policy(beta=0.5)}
    recipe = recipe_of(training, form=rows, **job.get("recipe", {}))
    if form == "classes":
        model = job.get("model", "gpt2")
        return recipe, {"data": data_of(), "source": source_of(folder / model, model)}
    model = job.get("model", "lm")
    source = source_of(folder / model, model)
    made = {"pairs": lambda _: pair_data(), "choices": partial(choice_data, rows=44)}
    made["categories"] = lambda _: category_data()
    made["policies"] = partial(policy_data, rows=44)
    data = made.get(form, partial(answer_data, rows=64))(source)
    return recipe, {"data": data, "source": source}


def run_job(folder: Path, workers: int, job: dict[str, Any]) -> dict[str, Any]:
    """One fit, killed and resumed if the job says so."""
    if "prompt" in job:
        return prompted(
            folder, job, Execution(engine="deepspeed", workers=workers, **job["execution"])
        )
    recipe, given = settled(folder, job)
    vocabulary_head.LOGITS_AT_ONCE = job.get("chunk", LOGITS_AT_ONCE)
    given |= {
        "execution": Execution(
            engine="deepspeed", workers=workers, checkpoint_every_s=0, **job["execution"]
        ),
        "weights": folder / job["weights"] if "weights" in job else None,
        "checkpoints": None,
    }
    if job.get("stored"):
        given |= from_store(folder / f"results-{workers}", recipe, given, name=job["name"])
    if "kill_at" in job:
        given["checkpoints"] = SharedFolder(folder / f"kept-{workers}-{job['name']}", every_s=0)
        try:
            fit(recipe, observer=Recorder(job["kill_at"]), **given)
        except KeyboardInterrupt:
            assert given["checkpoints"].latest() is not None
    if "damage" in job:
        return resume_damaged(folder, workers, job, recipe, given)
    if job["name"].startswith("refused"):
        try:
            fit(recipe, observer=Recorder(), **given)
        except InputError as error:
            return {"refused": str(error)}
    halves: list[str] = []
    if "held" in job:
        given["engine"] = partial(noting, halves, held=job["held"])
    ended: dict[str, Any] = {}
    if "asks" in job:
        ended = ask(folder, workers, job, recipe, given)
    seen = Predicting() if "predicts" in job else Recorder()
    result = fit(recipe, observer=seen, **given)
    return {
        **ended,
        "test": getattr(seen, "test", []),
        "halves": halves,
        "losses": seen.losses,
        "result": result,
        "evaluations": [(e["step"], e["agreement"], e["loss"]) for e in seen.evaluations],
    }


def noting(halves: list[str], *given: Any, held: bool, **named: Any) -> Any:
    """An engine; the names of its weights in bf16 are added to `halves`. `held`: it has some."""
    hold = inference.hold_frozen_in_bf16
    try:
        if not held:
            inference.hold_frozen_in_bf16 = lambda model, **_: None
        built = build_engine(*given, **named)
    finally:
        inference.hold_frozen_in_bf16 = hold
    halves += [n for n, p in built.model.named_parameters() if p.dtype == torch.bfloat16]
    return built


def prompted(folder: Path, job: dict[str, Any], execution: Execution) -> dict[str, Any]:
    """A model that is prompted and not trained."""
    source = source_of(folder / "lm-bf16", "lm")
    rows = prompt_rows(PROMPT, ["w7 "], TEXTS, source=source, max_tokens=32)
    labels = np.tile(np.array([[0.1, 0.9]], np.float32), (len(TEXTS), 1))
    result = predict_by_words(
        recipe_of({"precision": job["prompt"]}, prompt=PROMPT, predicts=("validation",)),
        data=PromptData({"validation": rows}, labels),
        source=source,
        execution=execution,
        observer=Recorder(),
    )
    return {"result": result}


def resume_damaged(
    folder: Path, workers: int, job: dict[str, Any], recipe: FitRecipe, given: dict[str, Any]
) -> dict[str, Any]:
    """A fit that is killed at step 7, and resumed after a worker's checkpoint was damaged."""
    import torch.distributed as distributed

    store = Store.open(folder / f"store-{workers}-{job['name']}")
    rank, damages = int(os.environ["RANK"]), []

    def stored(kind: type[StoredCheckpoints], attempt: int) -> StoredCheckpoints:
        spool = folder / f"spool-{workers}-{job['name']}-{attempt}"
        size = {"rank": rank, "workers": workers}
        return kind(
            store, "fit", "layout", every_s=0, spool=spool, on_damage=damages.append, **size
        )

    first = stored(StoredCheckpoints, 1)
    try:
        fit(recipe, observer=Recorder(7), **{**given, "checkpoints": first})
    except KeyboardInterrupt:
        first.close()
    if workers > 1:
        distributed.barrier()
    if rank == 0 and job["damage"] == "flip":
        flip_bit_of_newest(store, workers - 1)
    if workers > 1:
        distributed.barrier()
    second = stored(StoredCheckpoints if job["damage"] == "flip" else DivergingCheckpoints, 2)
    seen = Recorder()
    try:
        result = fit(recipe, observer=seen, **{**given, "checkpoints": second})
    except RuntimeError as error:
        return {"refused": str(error)}
    finally:
        second.close()
    found = [[str(each) for each in damages]]
    if workers > 1:
        found = found * workers
        distributed.all_gather_object(found, found[rank])
    return {"losses": seen.losses, "result": result, "damages": [*itertools.chain(*found)]}


def flip_bit_of_newest(store: Store, rank: int) -> None:
    """Flip a bit in the optimizer state that a worker wrote to the newest checkpoint."""
    paths = store.files.find("work/fit")
    newest = max(int(path.split("/step-")[1].split("/")[0]) for path in paths)
    (path,) = (
        p for p in paths if f"/step-{newest}/" in p and f"_rank_{rank}_" in p and "optim" in p
    )
    data = store.files.read(path)
    middle = len(data) // 2
    store.files.write(path, data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])


def from_store(uri: Path, recipe: FitRecipe, given: dict[str, Any], *, name: str) -> dict[str, Any]:
    """Data with activations that the group puts into a store, and the engine for them."""
    data = given["data"]
    parts = {"train": data.train, "validation": data.validation, **data.predict}
    passes: list[str] = []

    def make(missing: list[str], on_pass: Any) -> Any:
        passes.extend(missing)
        return activations(
            {part: parts[part] for part in missing},
            source=given["source"],
            training=recipe.training,
            execution=given["execution"],
            form=recipe.form,
            on_pass=on_pass,
        )

    for _ in range(2):
        found = stored_activations(
            Store.open(uri), {"job": name}, parts, make, execution=given["execution"]
        )
    assert passes == list(parts), passes
    rows = {
        part: ActivationRows(each.values_ND, parts[part].lengths, each.parameters)
        for part, each in found.items()
    }
    probed = replace(
        data,
        train=rows["train"],
        validation=rows["validation"],
        predict={part: rows[part] for part in data.predict},
    )
    return {"data": probed, "engine": partial(ProbeEngine, rows=rows["train"])}


def ask(
    folder: Path, workers: int, job: dict[str, Any], recipe: FitRecipe, given: dict[str, Any]
) -> dict[str, Any]:
    """End the fit at the control's second question to worker 0; the others hear of it from there.

    The fit that is then run in full goes on from the checkpoint, if one was left.
    """
    given["checkpoints"] = SharedFolder(folder / f"kept-{workers}-{job['name']}", every_s=10_000)
    control = CommandAt(job["asks"], at=2) if int(os.environ["RANK"]) == 0 else None
    try:
        fit(recipe, observer=Recorder(), control=control, **given)
    except (LeaveRequested, StopRequested) as caught:
        kept = given["checkpoints"].latest()
        return {
            "ended": (type(caught).__name__, caught.step),
            "kept": kept.name if kept else None,
        }
    raise AssertionError("the command of the control had no effect")
