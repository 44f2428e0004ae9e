"""The cause of a failure follows from the exception, also if it is wrapped; retries are bounded."""

from __future__ import annotations

import errno
import types

import pytest
import ray.exceptions
from huggingface_hub import errors as hub
from ray.train import WorkerGroupError

from w2s_ray.fits.failures import MOST_MOVES, HostLost, Retries, Stalled, cause_of
from w2s_ray.learn.contract import LeaveRequested, NonFiniteLoss
from w2s_ray.network import HubUnreachable

GLOO = RuntimeError("[third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer")


def wrapped(error: Exception) -> Exception:
    """As a Ray task's caller sees it."""
    return ray.exceptions.RayTaskError("run", "Traceback ...", error).as_instanceof_cause()


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (NonFiniteLoss(3, float("nan")), "diverged"),
        (wrapped(NonFiniteLoss(3, float("nan"))), "diverged"),
        (ValueError("no such column"), "error"),
        (FileNotFoundError("rows.parquet"), "error"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (wrapped(OSError(errno.EDQUOT, "quota")), "disk_full"),
        (OSError(errno.EIO, "Input/output error"), "store"),
        (TimeoutError("the store did not answer"), "store"),
        (wrapped(ConnectionResetError("store")), "store"),
        (MemoryError(), "out_of_memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out_of_memory"),
        (ray.exceptions.OutOfMemoryError("killed by the memory monitor"), "out_of_memory"),
        (ray.exceptions.WorkerCrashedError(), "worker_died"),
        (ray.exceptions.ActorDiedError(), "worker_died"),
        (ray.exceptions.NodeDiedError("n1"), "node_lost"),
        (LeaveRequested(7, 20), "preempted"),
        (Stalled(30.0), "stalled"),
        (HostLost("gone"), "worker_died"),
        (GLOO, "worker_died"),
    ],
)
def test_the_cause_follows_from_the_exception(error, cause):
    assert cause_of(error) == cause


def of_the_hub(kind, status: int) -> Exception:
    """An error of the hub's library for a reply."""
    response = types.SimpleNamespace(status_code=status, headers={}, request=None)
    return kind("the reply", response=response)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (HubUnreachable("no route"), "network"),
        (hub.OfflineModeIsEnabled("offline"), "network"),
        (hub.LocalEntryNotFoundError("not in the cache"), "network"),
        (of_the_hub(hub.HfHubHTTPError, 503), "network"),
        (wrapped(of_the_hub(hub.HfHubHTTPError, 429)), "network"),
        (of_the_hub(hub.HfHubHTTPError, 403), "error"),
        (of_the_hub(hub.GatedRepoError, 403), "error"),
        (of_the_hub(hub.RepositoryNotFoundError, 401), "error"),
        (wrapped(of_the_hub(hub.RemoteEntryNotFoundError, 404)), "error"),
    ],
)
def test_answers_of_the_hub_are_final_and_trouble_of_the_network_is_not(error, cause):
    assert cause_of(error) == cause
    assert Retries(2).allow(cause) is (cause == "network")


@pytest.mark.parametrize(
    ("failures", "cause"),
    [
        ({0: GLOO, 1: ray.exceptions.ActorDiedError()}, "worker_died"),
        ({0: GLOO, 1: MemoryError()}, "out_of_memory"),
        ({0: ValueError("wrong"), 1: ValueError("wrong")}, "error"),
        ({1: OSError(errno.ENOSPC, "full"), 0: GLOO}, "disk_full"),
    ],
)
def test_the_first_failure_of_a_group_is_the_cause(failures, cause):
    assert cause_of(WorkerGroupError("workers failed", failures)) == cause


def test_retries_are_bounded_for_each_cause_and_counted():
    retries = Retries(2)
    assert [retries.allow("worker_died") for _ in range(3)] == [True, True, False]
    assert [retries.allow("stalled") for _ in range(3)] == [True, True, False]
    assert retries.counts == {"worker_died": 2, "stalled": 2}
    assert not Retries(5).allow("error")
    assert not Retries(5).allow("diverged")


def test_a_lost_machine_does_not_count_against_the_retries():
    retries = Retries(0)
    assert all(retries.allow("preempted") for _ in range(MOST_MOVES))
    assert not retries.allow("preempted")
    assert not retries.allow("worker_died")


def test_only_failures_of_store_and_disk_are_retried_after_a_pause():
    retries = Retries(9)
    pauses = []
    for _ in range(7):
        retries.allow("store")
        pauses.append(retries.pause_s("store"))
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert retries.pause_s("worker_died") == 0
