"""A server on this machine that speaks the Hugging Face hub's API, for the hub's own client code.

It answers what the clients of `huggingface_hub`, `transformers` and `datasets` request: a
repository's commit, files and gate, its pull requests and their commits, and the files themselves,
large ones by a redirect. It can refuse, fail and be slow. It records the paths of all requests.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

DATE = "2026-01-01T00:00:00.000Z"
TITLE = "Adding `safetensors` variant of this model"


def commit_of(name: str) -> str:
    """A commit, made of any text."""
    return hashlib.sha1(name.encode()).hexdigest()


@dataclass
class PullRequest:
    """An open pull request."""

    number: int
    title: str = TITLE
    author: str = "SFconvertbot"
    status: str = "open"


@dataclass
class Repository:
    """A model or a data set."""

    files: dict[str, dict[str, bytes]]
    """Commit -> path -> content."""
    refs: dict[str, str]
    """Branch, tag or `refs/pr/N` -> commit."""
    parents: dict[str, str] = field(default_factory=dict)
    """Commit -> the one before it."""
    gated: str | bool = False
    pull_requests: tuple[PullRequest, ...] = ()

    @classmethod
    def of(cls, files: Mapping[str, bytes], **more: Any) -> Repository:
        """A repository with one commit on main."""
        commit = commit_of(repr(sorted(files)))
        return cls({commit: dict(files)}, {"main": commit}, **more)

    @property
    def main(self) -> str:
        """The commit of main."""
        return self.refs["main"]

    def add_branch(self, name: str, files: Mapping[str, bytes], *, parent: str) -> str:
        """A branch of one commit after `parent`; its commit."""
        commit = commit_of(f"{name} {sorted(files)}")
        self.files[commit], self.refs[name], self.parents[commit] = dict(files), commit, parent
        return commit


class HubServer(ThreadingHTTPServer):
    """The server; `models` and `datasets` are its repositories by name."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models: dict[str, Repository] = {}
        self.datasets: dict[str, Repository] = {}
        self.requests: list[str] = []
        """`GET /path` of each request."""
        self.token = "hf_good"
        """The token with access to gated repositories."""
        self.status: int | None = None
        """The status of every reply, in place of an answer."""
        self.chunk_s = 0.0
        """Seconds between two parts of a large file."""
        self.delay_s = 0.0
        """Seconds before each reply."""
        self.is_gone = False

    @property
    def url(self) -> str:
        """The address, as in `HF_ENDPOINT`."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def disappear(self) -> None:
        """Answer no more, as without a network."""
        self.is_gone = True
        self.socket.close()

    @property
    def files_url(self) -> str:
        """The address of large files, which is of another host."""
        return f"http://localhost:{self.server_address[1]}/blob"


@contextmanager
def hub_server() -> Iterator[HubServer]:
    """A running server."""
    server = HubServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def use_hub(monkeypatch: pytest.MonkeyPatch, url: str, datasets_cache: Path) -> None:
    """Have this process's libraries reach the hub at `url`, without pauses between retries."""
    import datasets.config
    from huggingface_hub import constants

    from w2s_ray.data.hub import cache_folder

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    point_at(monkeypatch, url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache_folder()))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(datasets_cache / "token"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", datasets_cache)
    without_pauses = types.SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})
    monkeypatch.setattr("huggingface_hub.utils._http.time", without_pauses)


def point_at(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Set the hub's address, which its library reads when it is imported."""
    template = "{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setenv("HF_ENDPOINT", url)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", f"{url}/{template}"
    )
    monkeypatch.setattr("datasets.config.HF_ENDPOINT", url)


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if "agent-harnesses" not in self.path:  # a list that the client reads once a process
            self.server.requests.append(f"{self.command} {self.path}")
        if self.server.is_gone:
            self.close_connection = True
            return
        time.sleep(self.server.delay_s)
        if self.server.status is not None:
            self._send(self.server.status, b"no service")
            return
        url = urlsplit(self.path)
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        try:
            if parts[0] == "api":
                self._api(parts[1:], parse_qs(url.query), body)
            elif parts[0] == "blob":
                self._blob(parts[1])
            else:
                self._resolve(parts)
        except _Refused as refused:
            self._send(refused.status, b"{}", {"X-Error-Code": refused.code})

    def _api(self, parts: list[str], query: dict[str, list[str]], body: bytes) -> None:
        kind, name, rest = parts[0], "/".join(parts[1:3]), parts[3:]
        repository = self._repository(kind, name)
        match rest:
            case ["auth-check"]:
                self._check_access(repository)
                self._json({})
            case ["discussions"]:
                self._json(_discussions(name, repository, query))
            case ["commits", revision]:
                self._json(_commits(repository, _commit(repository, revision)))
            case ["tree", revision, *folder]:
                self._check_access(repository)
                files = repository.files[_commit(repository, revision)]
                self._json(
                    _tree(
                        files,
                        "/".join(folder),
                        query.get("recursive", [""])[0].lower() in ("true", "1"),
                    )
                )
            case ["paths-info", revision]:
                files = repository.files[_commit(repository, revision)]
                paths = parse_qs(body.decode()).get("paths") or json.loads(body)["paths"]
                found = [entry for entry in _tree(files, "", True) if entry["path"] in paths]
                self._json(found)
            case [] | ["revision", _]:
                commit = _commit(repository, rest[1] if rest else "main")
                self._json(_info(name, repository, commit))
            case _:
                raise _Refused(404, "EntryNotFound")

    def _resolve(self, parts: list[str]) -> None:
        kind = "datasets" if parts[0] == "datasets" else "models"
        parts = parts[kind == "datasets" :]
        name, revision, path = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
        repository = self._repository(kind, name)
        self._check_access(repository)
        commit = _commit(repository, revision)
        content = repository.files[commit].get(path)
        if content is None:
            raise _Refused(404, "EntryNotFound", {"X-Repo-Commit": commit})
        headers = {"X-Repo-Commit": commit, "ETag": f'"{_blob_id(content)}"'}
        if not path.endswith(".safetensors"):
            self._send(200, content, headers)
            return
        digest = hashlib.sha256(content).hexdigest()
        headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
        self._send(302, b"", {**headers, "Location": f"{self.server.files_url}/{digest}"})

    def _blob(self, digest: str) -> None:
        contents = (
            content
            for repository in self.server.models.values()
            for files in repository.files.values()
            for content in files.values()
        )
        content = next(c for c in contents if hashlib.sha256(c).hexdigest() == digest)
        first = int((self.headers.get("Range") or "bytes=0-")[6:].partition("-")[0])
        rest = content[first:]
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if self.command == "HEAD":
            return
        step = max(1, len(rest) // 8)
        for start in range(0, len(rest), step):
            self.wfile.write(rest[start : start + step])
            time.sleep(self.server.chunk_s)

    def _repository(self, kind: str, name: str) -> Repository:
        found = getattr(self.server, kind, {}).get(name)
        if found is None:
            raise _Refused(401, "RepoNotFound")
        return found

    def _check_access(self, repository: Repository) -> None:
        given = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if repository.gated and given != self.server.token:
            raise _Refused(403 if given else 401, "GatedRepo")

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class _Refused(Exception):
    def __init__(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(code)
        self.status, self.code, self.headers = status, code, headers or {}


def _commit(repository: Repository, revision: str) -> str:
    commit = repository.refs.get(revision, revision)
    if commit not in repository.files:
        raise _Refused(404, "RevisionNotFound")
    return commit


def _info(name: str, repository: Repository, commit: str) -> dict[str, Any]:
    return {
        "_id": "0",
        "id": name,
        "modelId": name,
        "sha": commit,
        "private": False,
        "gated": repository.gated,
        "siblings": [{"rfilename": path} for path in repository.files[commit]],
        "tags": [],
        "downloads": 0,
        "lastModified": DATE,
    }


def _tree(files: Mapping[str, bytes], folder: str, recursive: bool) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for path, content in files.items():
        if folder and not path.startswith(f"{folder}/"):
            continue
        inner = path.removeprefix(f"{folder}/") if folder else path
        if "/" in inner and not recursive:
            top = "/".join(filter(None, (folder, inner.partition("/")[0])))
            found[top] = {"type": "directory", "path": top, "size": 0, "oid": _blob_id(b"")}
            continue
        entry = {"type": "file", "path": path, "size": len(content), "oid": _blob_id(content)}
        if path.endswith(".safetensors"):
            digest = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 130}
        found[path] = entry
    return list(found.values())


def _commits(repository: Repository, commit: str | None) -> list[dict[str, Any]]:
    found = []
    while commit is not None:
        found.append({"id": commit, "title": "t", "message": "", "authors": [], "date": DATE})
        commit = repository.parents.get(commit)
    return found


def _discussions(name: str, repository: Repository, query: dict[str, list[str]]) -> dict[str, Any]:
    wanted = [
        request
        for request in repository.pull_requests
        if query.get("author", [request.author]) == [request.author]
        and query.get("status", [request.status]) in ([request.status], ["all"])
    ]
    return {
        "count": len(wanted),
        "start": 0,
        "discussions": [
            {
                "title": request.title,
                "num": request.number,
                "author": {"name": request.author},
                "createdAt": DATE,
                "status": request.status,
                "repo": {"name": name, "type": "model"},
                "isPullRequest": True,
            }
            for request in wanted
        ],
    }


def _blob_id(content: bytes) -> str:
    """The id of a file in git."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
