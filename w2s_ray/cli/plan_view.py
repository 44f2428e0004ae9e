"""The output of `w2s plan`: runs by kind, inputs, studies, resources and the estimate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from w2s_ray.cli.estimate_view import print_estimate, print_json
from w2s_ray.config import OneOf, Policy, StudyRecipe
from w2s_ray.config.budget import Price
from w2s_ray.data.input_sizes import InputSizes
from w2s_ray.data.inputs import together
from w2s_ray.plain_console import PlainConsole
from w2s_ray.plan import (
    NodeKind,
    Nodes,
    Plan,
    PlannedStudy,
    check_nodes,
    model_order_warnings,
    worker_resources,
)
from w2s_ray.plan.cluster_file import read_cluster_file
from w2s_ray.plan.estimates import Device, estimate_plan, resolve_gpu_shares, whole_gpu_reasons
from w2s_ray.plan.nodes import ACCELERATOR
from w2s_ray.plan.summary import kind_counts, size_text
from w2s_ray.store import Store

_LISTED = 10
"""Largest number of fits that are listed one by one."""


def print_plan(
    plan: Plan,
    *,
    done: Collection[str],
    store: str,
    console: PlainConsole,
    every_run: bool = False,
    device: Device | None = None,
    price: Price | None = None,
    format: str = "table",
    warnings: Sequence[str] = (),
) -> None:
    """Print `plan` and its estimate; `done` are the ids of runs that `store` has."""
    sweep = plan.sweep
    sizes = InputSizes(plan.inputs)
    estimate = estimate_plan(plan, sizes, done=done, device=device)
    if format == "json":
        counts = {
            "sweep": sweep.name,
            "store": store,
            "cells": len(plan.cells),
            "fits": len(plan.fits),
            "studies": len(plan.studies),
            "trials": plan.trials,
            "refits": plan.waiting,
            "done": len(done),
            "warnings": [*model_order_warnings(plan, sizes), *warnings],
        }
        print_json(estimate, plan=counts, device=device, price=price)
        return
    console.print(
        Text.assemble((sweep.name, "bold"), f": {size_text(plan)}, results in {store}\n"),
        soft_wrap=True,
    )
    console.print(_kinds(plan, done))
    console.print()
    for line in (*_inputs(plan), *_studies(plan, done), *_marks(plan), *_needs(plan, done)):
        console.print(line, soft_wrap=True)
    console.print()
    print_estimate(estimate, device=device, price=price, console=console)
    for warning in (*model_order_warnings(plan, sizes), *warnings):
        console.print(Text(warning, style="yellow"), soft_wrap=True)
    if every_run:
        console.print()
        console.print(_runs(plan, done))


def place_plan(
    plan: Plan, *, cluster_file: Path | None, accelerator: str | None
) -> tuple[Plan, list[str]]:
    """The plan with shares of GPUs resolved for a cluster or a device, if one is given.

    The lines have the reasons why fits get whole GPUs, and the number of fits of each model that a
    cluster runs at once.

    Raises:
        InputError: the cluster can't run a model's fits, there is no such file, or the memory of a
            GPU is needed and unknown.
    """
    if cluster_file is not None:
        nodes = read_cluster_file(cluster_file)
        check_nodes(plan.sweep, nodes, remedy=f"give {cluster_file} larger nodes, or more of them")
    elif accelerator is not None:
        nodes = Nodes((NodeKind("machine", {"GPU": 1.0, f"{ACCELERATOR}{accelerator}": 1.0}, 1),))
    else:
        return plan, []
    sizes = InputSizes(plan.inputs)
    reasons = whole_gpu_reasons(plan, sizes, nodes)
    lines = [f"{model}: a whole GPU for each fit, since {why}" for model, why in reasons.items()]
    placed = resolve_gpu_shares(plan, sizes, nodes)
    return placed, lines + (
        _capacity(placed, nodes, cluster_file) if cluster_file is not None else []
    )


def one_class_lines(plan: Plan, store: Store, *, done: Collection[str]) -> list[str]:
    """A line for each finished fit that predicts one class on all test rows; none if sealed."""
    from w2s_ray.report.cell import ONE_CLASS, predicts_one_class

    fits = [] if plan.sweep.seal else [id_ for id_ in plan.fits if id_ in done]
    records = {record.id: record for record in store.records(fits)} if fits else {}
    found = [plan.fits[id_] for id_ in fits if predicts_one_class(records.get(id_))]
    more = [f"and {len(found) - _LISTED} more fits"] if len(found) > _LISTED else []
    return [f"{fit.description}: predicts {ONE_CLASS}" for fit in found[:_LISTED]] + more


def _capacity(plan: Plan, nodes: Nodes, cluster_file: Path) -> list[str]:
    """The number of fits of each model that run at once, by the fits with the largest needs."""
    gpus, lines = nodes.total("GPU") > 0, list[str]()
    for model in plan.sweep.models:
        of_model = [f.execution for f in plan.fits.values() if f.source.name == model.label]
        executions = of_model or [plan.sweep.execution_of(model)]
        count = min(nodes.capacity(worker_resources(e, gpus=gpus)) // e.workers for e in executions)
        lines.append(f"{cluster_file} has room for {count} fits of {model.label} at once")
    return lines


def _kinds(plan: Plan, done: Collection[str]) -> Table:
    """Fits of each kind: in all, shared between cells, done and left."""
    table = Table(box=None, pad_edge=False)
    table.add_column("fits")
    for name in ("to train", "shared", "done", "left"):
        table.add_column(name, justify="right")
    for count in kind_counts(plan, done=done):
        shared = "" if count.shared is None else str(count.shared)
        table.add_row(count.kind, str(count.to_train), shared, str(count.done), str(count.left))
    return table


def _inputs(plan: Plan) -> list[Text]:
    """A line for each input, and one line for all that are not on this machine."""
    lines = []
    for name, split in plan.inputs.splits.items():
        if not split.provisional:
            counts = ", ".join(f"{part} {n}" for part, n in split.counts.items())
            note = f" ({split.note})" if split.note else ""
            lines.append(Text(f"task {name}: {split.fingerprint}: {counts}{note}"))
    lines += _corpora(plan)
    for label, source in plan.inputs.models.items():
        state = ("unresolved", "yellow") if source.provisional else source.identity[:40]
        lines.append(Text.assemble(f"model {label} ({_trained(plan, label)}): ", state))
    unresolved = plan.inputs.unresolved
    if unresolved:
        missing = "; ".join(f"{together(names)} ({why})" for why, names in unresolved.items())
        what = ("not on this machine, so run ids are provisional", "yellow")
        lines.append(Text.assemble(what, f": {missing}"))
    return lines


def _corpora(plan: Plan) -> list[Text]:
    """A line for each corpus of a pretraining, with the models that are trained on it."""
    models: dict[str, list[str]] = {}
    for label, corpus in plan.inputs.corpora.items():
        if not corpus.provisional:
            rows = f"train {corpus.counts['supervisor_half']}, " + ", ".join(
                f"{part} {corpus.counts[part]}" for part in ("validation", "test")
            )
            line = f"{corpus.fingerprint}: {rows} ({corpus.note})"
            models.setdefault(line, []).append(label)
    return [Text(f"corpus of {', '.join(labels)}: {line}") for line, labels in models.items()]


def _trained(plan: Plan, label: str) -> str:
    """The model's name, and how its supervisors and ceilings are trained."""
    model = plan.sweep.model(label)
    training = plan.sweep.ground_truth_settings(model).training
    searched = plan.sweep.ground_truth.search
    parts = [model.name]
    parts += [f"lr {training.lr:g}"] if "training.lr" not in searched else []
    parts += [str(training.tuning.kind)] if "training.tuning" not in searched else []
    is_policy = isinstance(training.pair_model, Policy)
    parts += ["policy"] if is_policy and "training.pair_model" not in searched else []
    parts += [f"{path} searched" for path in searched]
    return ", ".join(parts)


def _studies(plan: Plan, done: Collection[str]) -> list[str]:
    lines = []
    for study in plan.studies.values():
        cells = sum(study.id in cell.studies for cell in plan.cells)
        state = "done" if study.id in done else f"{study.recipe.trials} trials"
        lines.append(
            f"study {study.id[:8]}: {_study(study, state)}, chooses settings for {cells} cells"
        )
    for later in plan.later_studies.values():
        state = f"{later.run.recipe.trials} trials"
        lines.append(f"after study {later.study[:8]}, a study of {_study(later.run, state)}")
    return lines


def _study(study: PlannedStudy, state: str) -> str:
    recipe = study.recipe
    return (
        f"{study.description.removeprefix('study of ')}: {state}, {recipe.sampler}, "
        f"scheduler {recipe.scheduler}, objective {recipe.objective}{_extras(recipe)}"
    )


def _marks(plan: Plan) -> list[str]:
    """Pairs in the table whose own ground truth, or that of the same student, is searched."""
    on = "is the first of pairs, and search.on is left out" if plan.sweep.search.on is None else ""
    own, same = dict[str, None](), dict[str, None]()
    for cell in plan.cells:
        place = f"{cell.task} ({cell.weak} → {cell.strong})"
        if cell.searched:
            own[place] = None
        elif cell.study is not None and cell.objective == "transfer":
            study = plan.studies[cell.study]
            trained = zip(study.tasks, (strong for _, strong in study.pairs), strict=True)
            if (cell.task, cell.strong) in trained:
                same[place] = None
    lines = []
    if own:
        lines.append(
            f"{'; '.join(own)}: in the table, because it {on or 'is in search.on and in pairs'}; "
            "searched methods are marked oracle there and no median has it; to leave it out, set "
            "search.on to a pair that is not in pairs"
        )
    if same:
        lines.append(
            f"{'; '.join(same)}: the search trains the same student on the same task; searched "
            "methods are marked `transfer, same student` there, and medians leave it out if there "
            "are other pairs"
        )
    return lines


def _extras(recipe: StudyRecipe) -> str:
    """A study's second objective, choices between kinds, and warm starts, if it has them."""
    kinds = [
        f", {path} one of {'/'.join(declared.kinds())}"
        for path, declared in recipe.space.items()
        if isinstance(declared, OneOf)
    ]
    first = ", ".join(study[:8] for study in recipe.warm_start)
    return "".join(
        (
            " and cost" if recipe.cost else "",
            *kinds,
            f", warm start from {first}" if first else "",
        )
    )


def _needs(plan: Plan, done: Collection[str]) -> list[str]:
    """The resources of fits still to run."""
    needs: Counter[str] = Counter()
    fits = (*plan.fits.values(), *(later.run for later in plan.later_fits.values()))
    for fit in fits:
        if fit.id not in done:
            e = fit.execution
            match e.gpus_per_worker:
                case None if e.workers > 1:
                    gpus = "a GPU if there is one"
                case None:
                    gpus = "a share of a GPU by memory, if there is one"
                case "auto":
                    gpus = "a share of a GPU by memory (--accelerator or --cluster: which)"
                case share:
                    gpus = f"{share:.3g} GPU"
            group = f"{e.workers} workers x " if e.workers > 1 else ""
            zero = f", DeepSpeed ZeRO-{e.zero_stage}" if e.engine == "deepspeed" else ""
            needs[f"{fit.source.name}: {group}{e.cpus_per_worker} CPU, {gpus}{zero}"] += 1
    keeps = sum(fit.execution.keep != "none" for fit in plan.fits.values())
    lines = [f"the store keeps the weights of {keeps} fits"] if keeps else []
    return lines + [
        f"a fit of {need} (for {count} of the fits planned)" for need, count in needs.items()
    ]


def _runs(plan: Plan, done: Collection[str]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("run", "what", "state"):
        table.add_column(name, no_wrap=True)
    for fit in plan.fits.values():
        table.add_row(
            fit.id,
            fit.description,
            "done" if fit.id in done else "to do",
        )
    for study in plan.studies.values():
        table.add_row(study.id, study.description, "done" if study.id in done else "to do")
    return table
