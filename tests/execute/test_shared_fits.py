"""On a real Ray: a fit with two requests, of which one is cancelled."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support import sweep_text
from w2s_ray.plan import PlannedFit
from w2s_ray.scheduling.requests import FitRequest, RequestId, WorkerSpec
from w2s_ray.store import Store

pytestmark = [pytest.mark.ray, pytest.mark.path]

EVALUATIONS = 200


@dataclass
class Scene:
    """The context of both requesters, and fits that take some seconds."""

    context: Any
    store: Store
    fits: list[PlannedFit]


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Iterator[Scene]:
    from w2s_ray.execute.environment import set_variables

    set_variables(joins=False)
    from w2s_ray import load_sweep
    from w2s_ray.execute.cluster import ray_cluster
    from w2s_ray.execute.progress_tracker import start_progress_tracker
    from w2s_ray.execute.run_context import RunContext
    from w2s_ray.execute.worker_pool import start_worker_pool
    from w2s_ray.prepare import materialize, plan_sweep

    folder = tmp_path_factory.mktemp("shared")
    text = sweep_text(folder, execution="{checkpoint_every_s: 0}")
    epochs = f"epochs: {EVALUATIONS // 2}"
    (folder / "sweep.yaml").write_text(text.replace("epochs: 2", epochs))
    sweep = load_sweep(folder / "sweep.yaml")
    store = Store.open(sweep.store)
    plan = plan_sweep(sweep, store=store)
    materialize(plan, store)
    with ray_cluster() as cluster:
        context = RunContext(
            store=store.uri,
            cluster=cluster,
            progress_tracker=start_progress_tracker(),
            worker_pool=start_worker_pool(cluster),
        )
        fits = [fit for fit in cluster.resolve_gpu_shares(plan).fits.values() if not fit.parents]
        yield Scene(context, store, fits)
        context.close()


@dataclass
class Requester:
    """A requester of a fit, which may cancel its request at the first evaluation."""

    scene: Scene
    queue: str
    fit: PlannedFit
    before_cancel: Any = None
    """Called before it cancels; None if it never cancels."""
    received: list[int] = field(default_factory=list)
    has_received: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> Any:
        from w2s_ray.execute.run_fit import run_fit

        return run_fit(
            self.scene.context, self.fit, queue=self.queue, on_evaluation=self._on_evaluation
        )

    def _on_evaluation(self, evaluation: Mapping[str, Any]) -> None:
        self.received.append(evaluation["evaluations"])
        self.has_received.set()
        if self.before_cancel is not None:
            self.before_cancel()
            assert self.scene.store.find(self.fit.id) is None, (
                "it ended before the request was cancelled"
            )
            raise SystemExit  # as Tune ends a trial


def wait_for(scene: Scene, request: RequestId) -> None:
    import ray

    while not ray.get(scene.context.worker_pool.has_request.remote(request)):
        threading.Event().wait(0.01)


def test_a_fit_continues_for_the_second_request_after_the_first_is_cancelled(scene):
    fit = scene.fits[0]
    other = Requester(scene, "b", fit)
    pruned = Requester(scene, "a", fit, lambda: wait_for(scene, RequestId(fit.id, "b", 0)))
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(pruned)
        assert pruned.has_received.wait(120)
        second = threads.submit(other)
        assert isinstance(first.exception(timeout=200), SystemExit)
        record = second.result(timeout=200)
    assert (record.status, record.attempts) == ("done", 1)
    assert scene.store.attempts(fit.id) in ([], [record])
    assert pruned.received == [1]
    assert other.received == list(range(1, EVALUATIONS + 1))


def test_a_fit_without_requests_stops_and_may_be_requested_again(scene):
    fit = scene.fits[1]
    pruned = Requester(scene, "a", fit, lambda: None)
    with ThreadPoolExecutor(1) as threads:
        assert isinstance(threads.submit(pruned).exception(timeout=200), SystemExit)
        assert scene.store.find(fit.id) is None
        again = Requester(scene, "a", fit)
        record = threads.submit(again).result(timeout=200)
    assert record.status == "done"
    assert again.received == list(range(1, EVALUATIONS + 1))


def test_a_done_fit_is_the_result_of_all_its_requests_without_a_second_training(scene):
    fit = scene.fits[2]
    requesters = [Requester(scene, queue, fit) for queue in "abc"]
    with ThreadPoolExecutor(3) as threads:
        records = [f.result(timeout=200) for f in [threads.submit(r) for r in requesters]]
    assert len({(record.id, record.started_at) for record in records}) == 1
    for requester in requesters:
        assert requester.received == list(range(1, EVALUATIONS + 1))


def test_more_fits_may_be_queued_than_ray_runs_calls_by_default(scene):
    import ray

    from w2s_ray.execute.worker_pool import start_worker_pool

    context, spec = scene.context, WorkerSpec("torch", 1, 1.0, 0.0)
    worker_pool = start_worker_pool(context.cluster)
    requests = [FitRequest(f"fit-{n}", "study", spec, n) for n in range(1500)]
    replies = [
        worker_pool.acquire.remote(request, context.progress_tracker) for request in requests
    ]
    assert ray.get(worker_pool.has_request.remote(requests[-1].id), timeout=100), (
        "it replies, and all are in line"
    )
    assert len(ray.wait(replies, timeout=100)[0]) == 1
    ray.get(worker_pool.close.remote(), timeout=60)
    ray.kill(worker_pool)
