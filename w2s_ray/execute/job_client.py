"""Ray Jobs: a client of a cluster's dashboard, which lists, starts and stops jobs of sweeps.

Owns the connection, its token, and the error messages for both. Ray looks for a token in several
places and prints warnings about each; this client reads one token and sends it.
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

REQUEST_S = 30.0
"""Time limit for a request."""
AGENT_S = 180.0
"""How long a head node may take after its start until its job agent listens. The agent's imports
take long on a busy machine."""
NO_AGENT = "No available agent"
"""Ray's error until then."""
ENDED = ("SUCCEEDED", "FAILED", "STOPPED")


class JobError(InputError):
    """The cluster can't be reached, or refuses a request."""


class Jobs:
    """The jobs of a cluster, by the address of its dashboard (`http://HOST:8265`)."""

    def __init__(self, address: str) -> None:
        """Connect.

        Raises:
            JobError: no cluster has that address, or it refuses the token.
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

    def running_alike(self, submission: Submission) -> str | None:
        """The running job of the same sweep, store and budget, if there is one.

        Raises:
            JobError: a job runs another version of the sweep, or with another budget, in the same
                store.
        """
        for job in self.under_way(submission.metadata[SWEEP]):
            about, name = job.metadata or {}, str(job.submission_id)
            if about.get(STORE) != submission.metadata[STORE]:
                continue
            same_sweep = about.get(TEXT) == submission.metadata[TEXT]
            its_budget, budget = about.get(BUDGET), submission.metadata.get(BUDGET)
            if same_sweep and its_budget == budget:
                return name
            other = f"budget ({its_budget}, not {budget})" if same_sweep else "sweep file"
            raise JobError(
                f"job {name} runs {submission.metadata[SWEEP]} with another {other} in the same "
                f"store; `w2s cancel {name} --address {self.address}` stops it, with its results "
                "kept"
            )
        return None

    def start(self, submission: Submission, *, package: bool) -> str:
        """Submit a job; its name."""
        with tempfile.TemporaryDirectory(prefix="w2s-job-") as folder:
            pack(submission.files, into=Path(folder), package=package)
            return self._call(lambda: self._submit(submission, folder))

    def _submit(self, submission: Submission, folder: str) -> str:
        """A job's name, once the cluster accepts it: a head that has just started accepts none."""
        deadline = time.monotonic() + AGENT_S
        while True:
            try:
                return self.client.submit_job(
                    entrypoint=submission.entrypoint,
                    submission_id=submission.name,
                    runtime_env={"working_dir": folder, "env_vars": dict(submission.variables)},
                    metadata=dict(submission.metadata),
                )
            except RuntimeError as error:
                if NO_AGENT not in str(error) or time.monotonic() > deadline:
                    raise
            time.sleep(1)

    def details(self, job: str) -> JobDetails:
        """A job's details."""
        return self._call(lambda: self.client.get_job_info(job), job=job)

    def stop(self, job: str) -> None:
        """Send SIGTERM to a job's driver: its fits write a checkpoint first."""
        self._call(lambda: self.client.stop_job(job), job=job)

    def refusal(self, status: int) -> JobError:
        """The error for an HTTP status 401 or 403."""
        if status == 401 or self._token is None:
            return JobError(
                f"the cluster at {self.address} needs a token; put its token into "
                "~/.ray/auth_token (mode 600) or RAY_AUTH_TOKEN"
            )
        return JobError(
            f"the cluster at {self.address} refuses the token from {token_source()}; put the "
            "cluster's own there (`ray get-auth-token` on its head)"
        )

    def _call(self, request: Any, *, job: str | None = None) -> Any:
        """The cluster's reply; its errors become a `JobError` of one line."""
        import ray.exceptions

        try:
            return request()
        except ray.exceptions.AuthenticationError as error:
            status = 401 if "required" in str(error).partition("\n")[0] else 403
            raise self.refusal(status) from None
        except ConnectionError as error:
            raise JobError(
                f"no Ray dashboard answers at {self.address}: {str(error).splitlines()[0]}; check "
                "that the cluster runs and that its port 8265 is forwarded here"
            ) from error
        except RuntimeError as error:
            first_line = str(error).splitlines()[0]
            if job is not None and "404" in first_line:
                raise JobError(f"{self.address} has no job {job}") from None
            raise JobError(f"the cluster at {self.address} refuses: {first_line}") from error


def token() -> str | None:
    """The token that Ray would use: of a variable, of a file that one names, or of the home
    folder's file.
    """
    if os.environ.get("RAY_AUTH_TOKEN"):
        return os.environ["RAY_AUTH_TOKEN"].strip()
    path = _token_file()
    return path.read_text(encoding="utf-8").strip() or None if path.is_file() else None


def token_source() -> str:
    """The variable or file that `token` reads."""
    return "RAY_AUTH_TOKEN" if os.environ.get("RAY_AUTH_TOKEN") else str(_token_file())


def _token_file() -> Path:
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    return Path(named).expanduser() if named else Path.home() / ".ray" / "auth_token"


def _client(address: str, token: str | None) -> Any:
    """Ray's client, with the token and a time limit for each request."""
    os.environ["RAY_AUTH_MODE"] = "disabled"  # of this process: the token is sent as a header
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):  # they take precedence over `address`
        os.environ.pop(name, None)
    import requests
    from ray.job_submission import JobSubmissionClient

    class Client(JobSubmissionClient):
        def _do_request(self, *arguments: Any, **options: Any) -> Any:
            try:
                return super()._do_request(*arguments, **{"timeout": REQUEST_S, **options})
            except requests.RequestException as error:
                raise ConnectionError(str(error)) from error

    headers = {"Authorization": f"Bearer {token}"} if token else None
    return Client(address, headers=headers)
