"""The other end: a cluster's dashboard, and the jobs of sweeps that it has, starts and ends.

Owns the connection, the token that goes with it, and the words for what can be wrong with either.
Ray reads tokens in several ways and warns in several more; here one is read, and sent.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from w2s_ray.errors import InputError
from w2s_ray.execute.job_package import pack
from w2s_ray.execute.job_submission import BUDGET, STORE, SWEEP, TEXT, Submission

if TYPE_CHECKING:
    from ray.job_submission import JobDetails

ANSWER_S = 30.0
"""How long a request may take."""
AGENT_S = 180.0
"""How long a head may take after its start until its agent listens, and it takes jobs: a process
that imports for long on a busy machine."""
NO_AGENT = "No available agent"
"""What it says until then."""
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")


class JobError(InputError):
    """The cluster can't be reached, or refuses what it is asked."""


class Jobs:
    """The jobs of a cluster, by the address of its dashboard (`http://HOST:8265`)."""

    def __init__(self, address: str) -> None:
        """Connect.

        Raises:
            JobError: no cluster there, or it refuses the token.
        """
        if urlsplit(address).scheme not in ("http", "https"):
            raise JobError(
                f"--address {address}: give the address of the cluster's dashboard, such as "
                "http://127.0.0.1:8265 (through `ray dashboard` or `kubectl port-forward`)"
            )
        self.address = address.rstrip("/")
        self._token = token()
        self.client = self._call(lambda: _client(self.address, self._token))

    def under_way(self, sweep: str) -> list[JobDetails]:
        """Jobs of a sweep that have not ended."""
        jobs = self._call(self.client.list_jobs)
        return [
            job
            for job in jobs
            if job.metadata and job.metadata.get(SWEEP) == sweep and job.status not in ENDED
        ]

    def running_alike(self, wanted: Submission) -> str | None:
        """The job that runs what is `wanted` already, if there is one.

        Raises:
            JobError: a job runs another version of the sweep, or with another budget, in the same
                store.
        """
        for job in self.under_way(wanted.metadata[SWEEP]):
            about, name = job.metadata or {}, str(job.submission_id)
            if about.get(STORE) != wanted.metadata[STORE]:
                continue
            same, budgets = about.get(TEXT) == wanted.metadata[TEXT], (about, wanted.metadata)
            theirs, ours = (told.get(BUDGET) for told in budgets)
            if same and theirs == ours:
                return name
            other = f"budget ({theirs}, not {ours})" if same else "sweep file"
            raise JobError(
                f"job {name} runs {wanted.metadata[SWEEP]} with another {other} in the same store; "
                f"`w2s cancel {name} --address {self.address}` stops it, with its results kept"
            )
        return None

    def start(self, wanted: Submission, *, package: bool) -> str:
        """Send a job; its name."""
        with tempfile.TemporaryDirectory(prefix="w2s-job-") as folder:
            pack(wanted.files, into=Path(folder), package=package)
            return self._call(lambda: self._submitted(wanted, folder))

    def _submitted(self, wanted: Submission, folder: str) -> str:
        """A job's name, once the cluster takes it: a head that has just started takes none yet."""
        deadline = time.monotonic() + AGENT_S
        while True:
            try:
                return self.client.submit_job(
                    entrypoint=wanted.entrypoint,
                    submission_id=wanted.name,
                    runtime_env={"working_dir": folder, "env_vars": dict(wanted.variables)},
                    metadata=dict(wanted.metadata),
                )
            except RuntimeError as error:
                if NO_AGENT not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(1)

    def details(self, job: str) -> JobDetails:
        """How a job stands."""
        return self._call(lambda: self.client.get_job_info(job), job=job)

    def stop(self, job: str) -> None:
        """Have a job's driver end as on SIGTERM: fits write a checkpoint first."""
        self._call(lambda: self.client.stop_job(job), job=job)

    def refusal(self, status: int) -> JobError:
        """The error for an HTTP status 401 or 403."""
        if status == 401 or self._token is None:
            return JobError(
                f"the cluster at {self.address} asks for a token; put its token into "
                "~/.ray/auth_token (mode 600) or RAY_AUTH_TOKEN"
            )
        return JobError(
            f"the cluster at {self.address} refuses the token from {token_source()}; put the "
            "cluster's own there (`ray get-auth-token` on its head)"
        )

    def _call(self, ask: Any, *, job: str | None = None) -> Any:
        """What the cluster answers, with its refusals in one line."""
        import ray.exceptions

        try:
            return ask()
        except ray.exceptions.AuthenticationError as error:
            status = 401 if "required" in str(error).partition("\n")[0] else 403
            raise self.refusal(status) from None
        except ConnectionError as error:
            raise JobError(
                f"no Ray dashboard answers at {self.address}: {str(error).splitlines()[0]}; check "
                "that the cluster runs and that its port 8265 is forwarded here"
            ) from error
        except RuntimeError as error:
            said = str(error).splitlines()[0]
            if job is not None and "404" in said:
                raise JobError(f"{self.address} has no job {job}") from None
            raise JobError(f"the cluster at {self.address} refuses: {said}") from error


def token() -> str | None:
    """The token as Ray would find it: a variable, a file that one names, or the file at home."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return os.environ["RAY_AUTH_TOKEN"].strip()
    path = _token_file()
    return path.read_text(encoding="utf-8").strip() or None if path.is_file() else None


def token_source() -> str:
    """Where `token` found it."""
    return "RAY_AUTH_TOKEN" if os.environ.get("RAY_AUTH_TOKEN") else str(_token_file())


def _token_file() -> Path:
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    return Path(named).expanduser() if named else Path.home() / ".ray" / "auth_token"


def _client(address: str, token: str | None) -> Any:
    """Ray's client, which sends the token and waits no longer than it should."""
    os.environ["RAY_AUTH_MODE"] = "disabled"  # of this process: the token is sent as a header
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):  # they would win over `address`
        os.environ.pop(name, None)
    import requests
    from ray.job_submission import JobSubmissionClient

    class Client(JobSubmissionClient):
        def _do_request(self, *arguments: Any, **options: Any) -> Any:
            try:
                return super()._do_request(*arguments, **{"timeout": ANSWER_S, **options})
            except requests.RequestException as error:
                raise ConnectionError(str(error)) from error

    headers = {"Authorization": f"Bearer {token}"} if token else None
    return Client(address, headers=headers)
