"""Shares by memory on the GPUs that there are, else whole ones, and micro-batches that fit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.plan.test_plan import SEARCH, SWEEP, inputs
from tests.support import w2s
from w2s_ray.config import Execution, ModelSource, parse_sweep
from w2s_ray.data.input_sizes import InputSizes
from w2s_ray.execute.cluster import Cluster
from w2s_ray.ladder import folder
from w2s_ray.plan import NodeKind, Nodes, Plan, ResourceError, make_plan
from w2s_ray.plan.estimates import gpu_fraction, memory, resolve_gpu_shares, whole_gpu_reasons
from w2s_ray.scheduling.requests import FitRequest, WorkerSpec, has_capacity

AUTO = "execution: {gpus_per_worker: auto}\n"
L4 = NodeKind("l4", {"CPU": 16.0, "GPU": 2.0, "accelerator_type:L4": 1.0}, 1)
T4 = NodeKind("t4", {"CPU": 16.0, "GPU": 1.0, "accelerator_type:T4": 1.0}, 4)
NO_GPU = Nodes((NodeKind("node", {"CPU": 8.0}, 1),))


def planned(text: str = SWEEP + AUTO) -> Plan:
    """A plan whose models `s` and `m` are on this machine, and `l` isn't."""
    found = inputs()
    known = {
        label: ModelSource(name=label, location=str(folder(size)), identity=f"sha256:{label}")
        for label, size in (("s", "xs"), ("m", "s"))
    }
    found.models.update(known)
    return make_plan(parse_sweep(text), found)


def shares(plan: Plan, *kinds: NodeKind) -> dict[str, float]:
    done = resolve_gpu_shares(plan, InputSizes(plan.inputs), Nodes(kinds))
    return {fit.source.name: fit.execution.gpus_per_worker for fit in done.fits.values()}  # type: ignore[misc]


def test_each_fit_gets_the_share_that_its_longest_rows_need():
    plan = planned()
    found = shares(plan, L4)
    model = InputSizes(plan.inputs).architecture(plan.inputs.models["s"])
    assert not isinstance(model, str)
    fit = next(fit for fit in plan.fits.values() if fit.source.name == "s")
    needs = memory(
        model,
        training=fit.recipe.training,
        execution=fit.execution,
        longest=min(fit.recipe.training.max_tokens, model.longest or 10**9),
    )
    assert found["s"] == gpu_fraction(needs, 24e9)
    assert found["s"] < found["l"] == 1.0, "nothing is known of l"
    reasons = whole_gpu_reasons(plan, InputSizes(plan.inputs), Nodes((L4,)))
    assert set(reasons) == {"l"}
    assert "config.json" in reasons["l"]


def test_with_two_types_of_gpus_the_smaller_one_decides():
    plan = planned()
    assert shares(plan, L4, T4) == shares(plan, T4)
    assert shares(plan, L4)["s"] < shares(plan, T4)["s"]
    only = "execution: {gpus_per_worker: auto, accelerator_type: L4}\n"
    assert shares(planned(SWEEP + only), L4, T4) == shares(plan, L4)


def test_auto_changes_no_ids_and_numbers_stay_as_they_are():
    assert planned().fits.keys() == planned(SWEEP).fits.keys()
    given = planned(SWEEP + "execution: {gpus_per_worker: 0.5}\n")
    assert set(shares(given, L4).values()) == {0.5}
    assert shares(planned(SWEEP), L4) == shares(planned(), L4), "the default"
    group = "execution: {engine: deepspeed, workers: 2, gpus_per_worker: auto}\n"
    assert set(shares(planned(SWEEP + group), L4).values()) == {1.0}
    assert set(shares(planned(), *NO_GPU.kinds).values()) == {0.0}
    assert set(shares(planned(SWEEP), *NO_GPU.kinds).values()) == {None}
    assert set(
        shares(planned(SWEEP + group.replace(", gpus_per_worker: auto", "")), L4).values()
    ) == {None}


def test_a_gpu_of_unknown_memory_is_given_whole_by_default():
    plan = planned(SWEEP)
    mine = NodeKind("mine", {"CPU": 1.0, "GPU": 1.0}, 1)
    assert set(shares(plan, mine).values()) == {1.0}
    reasons = whole_gpu_reasons(plan, InputSizes(plan.inputs), Nodes((mine,)))
    assert reasons["s"] == "the memory of the GPUs is unknown"


def micro_batches(text: str, *kinds: NodeKind) -> dict[str, object]:
    plan = planned(text)
    done = resolve_gpu_shares(plan, InputSizes(plan.inputs), Nodes(kinds))
    return {fit.source.name: fit.execution.micro_batch for fit in done.fits.values()}


def test_a_micro_batch_is_the_largest_that_fits():
    given = "execution: {{micro_batch: auto, evaluation_batch: 1{more}}}\n"
    found = micro_batches(SWEEP + given.format(more=""), L4)
    whole = planned().sweep.training.batch_size
    assert found["s"] == whole, "all of a batch fits"
    assert found["l"] == "auto", "nothing is known of l, which is tried"
    assert set(micro_batches(SWEEP + given.format(more=""), *NO_GPU.kinds).values()) == {"auto"}


@pytest.mark.parametrize("share", ["", ", gpus_per_worker: 0.5"])
@pytest.mark.parametrize(("room_gb", "whole"), [(1.6112, False), (1.612, False), (2.5, True)])
def test_no_larger_micro_batch_of_equal_ones_would_fit(room_gb, whole, share, monkeypatch):
    from w2s_ray.plan.estimates import fits_on_device
    from w2s_ray.plan.estimates.memory import fit_memory

    room = room_gb * 1e9 * (2 if share else 1)
    monkeypatch.setattr("w2s_ray.plan.estimates.shares._memories", lambda *_: [room])
    text = (
        SWEEP
        + "training: {batch_size: 96, max_tokens: 512}\n"
        + f"execution: {{micro_batch: auto, evaluation_batch: 1{share}}}\n"
    )
    plan = planned(text)
    found = micro_batches(text, L4)["s"]
    assert isinstance(found, int)
    fit = next(fit for fit in plan.fits.values() if fit.source.name == "s")
    model = InputSizes(plan.inputs).architecture(fit.source)
    assert not isinstance(model, str)
    longest = min(512, model.longest or 512)

    def has_room(rows: int) -> bool:
        execution = fit.execution.model_copy(update={"micro_batch": rows})
        needs = fit_memory(fit.recipe, execution, model=model, longest=longest)
        return fits_on_device(needs, room_gb * 1e9)

    assert has_room(found)
    passes = -(-96 // found)
    assert (passes == 1) == whole
    assert whole or not has_room(-(-96 // (passes - 1)))


def test_trials_get_a_share_unless_their_search_varies_memory():
    (study,) = resolve_gpu_shares(*with_sizes(planned(SEARCH + AUTO))).studies.values()
    gpus = [fit.execution.gpus_per_worker for fit in study.trial_fits({"loss.alpha": 0.5})]
    assert gpus == [shares(planned(), L4)["m"]]
    batches = SEARCH.replace("loss.alpha: {uniform: [0, 1]}", "training.batch_size: {choice: [8]}")
    (study,) = resolve_gpu_shares(*with_sizes(planned(batches + AUTO))).studies.values()
    assert [e.gpus_per_worker for e in study.executions] == [1.0]


def with_sizes(plan: Plan) -> tuple[Plan, InputSizes, Nodes]:
    return plan, InputSizes(plan.inputs), Nodes((L4,))


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"CPU": 1.0, "GPU": 1.0}, "the GPU type of node type mine is unknown; set"),
        ({"GPU": 1.0, "accelerator_type:K9": 1.0}, "memory of accelerator K9 is unknown; set"),
    ],
)
def test_a_gpu_of_unknown_memory_is_refused_with_the_remedy(resources, message):
    with pytest.raises(ResourceError, match=message):
        shares(planned(), NodeKind("mine", resources, 1))


def test_the_worker_pool_packs_shares_onto_whole_gpus():
    cluster = Cluster(Nodes((L4,)))
    plan = cluster.resolve_gpu_shares(planned())
    fits = [fit for fit in plan.fits.values() if fit.source.name == "s"]
    spec = WorkerSpec.of(fits[0].execution, cluster.resources(fits[0].execution))
    assert FitRequest("f", "sweep", spec).spec.gpus == fits[0].execution.gpus_per_worker
    assert cluster.slots(fits[0].execution) == 16, "by CPUs"
    many = round(1 / spec.gpus)
    one_gpu = {"CPU": 64.0, "GPU": 1.0}
    assert has_capacity(spec, held=[spec] * (many - 1), capacity=one_gpu)
    assert not has_capacity(spec, held=[spec] * many, capacity=one_gpu)


def test_the_plan_shows_shares_and_reasons_for_whole_gpus(tmp_path):
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(
        "name: n\ntask: {name: embedded, train: 200, validation: 50, test: 50}\n"
        "models: [embedded:xs, embedded:s]\nmethods: {naive: {}}\n" + AUTO
    )
    without = w2s("plan", sweep).stdout
    assert "a share of a GPU by memory" in without
    on_l4 = w2s("plan", sweep, "--accelerator", "L4").stdout
    assert "a fit of embedded:xs: 1 CPU, 0.0833 GPU" in on_l4
    aws = w2s("plan", sweep, "--cluster", "cluster/aws.yaml").stdout
    whole = w2s("plan", whole_gpu(sweep), "--cluster", "cluster/aws.yaml").stdout
    assert capacities(aws)["embedded:xs"] > capacities(whole)["embedded:xs"] > 0
    refused = w2s("plan", sweep, "--accelerator", "L4", "--cluster", "cluster/slurm.sbatch")
    assert refused.returncode == 2
    assert "the GPU type of node type machine of the allocation is unknown" in refused.stderr


def test_an_invalid_share_is_refused():
    with pytest.raises(ValueError, match="gpus_per_worker"):
        Execution(gpus_per_worker="half")  # type: ignore[arg-type]


def whole_gpu(sweep: Path) -> Path:
    other = sweep.with_name("whole.yaml")
    other.write_text(sweep.read_text().replace("auto", "1"))
    return other


def capacities(output: str) -> dict[str, int]:
    """Model -> number of fits that run at once."""
    found = re.findall(r"has room for (\d+) fits of (\S+) at once", output)
    return {model: int(count) for count, model in found}
