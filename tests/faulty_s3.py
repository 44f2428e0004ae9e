"""A local S3 server that answers slowly, with errors or not at all, by a seeded schedule.

    with S3Server() as server:
        uri = server.new_bucket() + "/results"      # s3://...
        subprocess.run(..., env={**os.environ, **server.environment})
        with server.faulty(Faults(seed=3, refused=0.05, lost=0.05)):
            ...

It is moto's S3 behind a WSGI middleware in a thread of this process, so it serves any number of
processes, and outlives those that a test kills. Requests run one at a time, as conditional writes
must. In pytest, the fixtures `s3_server` and `s3_store` give one that is shared by the session.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

_buckets = itertools.count(1)
_ERROR = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>by schedule</Message></Error>"


@dataclass(frozen=True)
class Faults:
    """How often a request meets what; the rest is answered as it should be. Shares of 1."""

    seed: int = 0
    refused: float = 0.0
    """503 SlowDown, and nothing is done."""
    lost: float = 0.0
    """It is done, and the answer is a 500."""
    slow: float = 0.0
    """It is done after `delay_s`."""
    delay_s: float = 0.2
    methods: tuple[str, ...] = ("GET", "HEAD", "PUT", "POST", "DELETE")
    """Requests by other methods meet nothing."""
    named: str = ""
    """Only requests whose path or query contains this meet anything."""


class S3Server:
    """Moto's S3 on a free port of this machine, with faults on request.

    `address` is one of this machine's own; at another than localhost, other machines reach it.
    """

    def __init__(self, address: str = "127.0.0.1") -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.counts: Counter[str] = Counter()
        """What the requests met since the faults were set: served, refused, lost, slow."""
        self._app = DomainDispatcherApplication(create_backend_app)
        self._faults, self._asked = Faults(), Counter[str]()
        self._drawing, self._serving = threading.Lock(), threading.Lock()
        self._server = make_server(address, 0, self._answer, threaded=True)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> S3Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        return f"http://{self._server.host}:{self._server.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to reach this server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def new_bucket(self) -> str:
        """The URI of an empty bucket; no two of this process have the same name."""
        import urllib.request

        name = f"bucket-{next(_buckets)}"
        request = urllib.request.Request(f"{self.endpoint}/{name}", method="PUT")
        with self.faulty(Faults()), urllib.request.urlopen(request):
            return f"s3://{name}"

    @contextlib.contextmanager
    def faulty(self, faults: Faults) -> Iterator[Counter[str]]:
        """Serve by `faults` within; gives what the requests met."""
        before = self._faults
        self._set(faults)
        try:
            yield self.counts
        finally:
            self._set(before)

    def _set(self, faults: Faults) -> None:
        with self._drawing:
            self._faults, self._asked = faults, Counter()
            self.counts = Counter()

    def _draw(self, environ: dict[str, Any]) -> tuple[str, float]:
        """The fate of one request, and the delay of slow ones.

        It follows from the seed, the request in its bucket and how often it came before, so that
        neither threads nor another test's requests change it.
        """
        with self._drawing:
            faults = self._faults
            where = f"{environ['PATH_INFO']}?{environ.get('QUERY_STRING', '')}"
            request = f"{environ['REQUEST_METHOD']} {where.lstrip('/').partition('/')[2]}"
            self._asked[request] += 1
            drawn = random.Random(f"{faults.seed} {request} {self._asked[request]}").random()
            fate = "served"
            if environ["REQUEST_METHOD"] in faults.methods and faults.named in where:
                for name in ("refused", "lost", "slow"):
                    share = getattr(faults, name)
                    if 0 <= drawn < share:
                        fate = name
                    drawn -= share
            self.counts[fate] += 1
            return fate, faults.delay_s

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        fate, delay_s = self._draw(environ)
        if fate == "refused":
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            return self._error(environ, start_response, "503 Service Unavailable", b"SlowDown")
        if fate == "slow":
            time.sleep(delay_s)
        begun: list[Any] = []
        with self._serving:
            body = b"".join(self._app(environ, lambda *answer, **_: begun.extend(answer)))
        if fate == "lost":
            return self._error(
                environ, start_response, "500 Internal Server Error", b"InternalError"
            )
        start_response(begun[0], begun[1])
        return [body]

    @staticmethod
    def _error(
        environ: dict[str, Any], start_response: Any, status: str, code: bytes
    ) -> Iterable[bytes]:
        # No body in an answer to HEAD: clients take it for an answer to nothing and break off.
        body = _ERROR % code if environ["REQUEST_METHOD"] != "HEAD" else b""
        headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
        start_response(status, headers)
        return [body]
