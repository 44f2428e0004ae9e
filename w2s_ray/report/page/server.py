"""A web server for one page that changes, with a token: read-only, for the browser of one user.

Owns who may read: a request with the token gets a cookie, and every other request needs the cookie.
It refuses host names that are not its own (DNS rebinding) and methods other than GET, and its
headers keep the page out of caches and frames. It reads no store.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import ipaddress
import secrets
import socket
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import urlsplit

from aiohttp import web

from w2s_ray.errors import InputError
from w2s_ray.report.page.live import LivePage

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
"""Names of this machine that no other machine can have."""
_ANY = frozenset({"0.0.0.0", "::", ""})
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_PAGE_POLICY = {"Content-Security-Policy": "frame-ancestors 'none'"}
"""The page's own markup has the rest of its policy, which can't have this part."""

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def serve(page: LivePage, *, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve `page` until Ctrl-C; `announce` is called with the address, which has the token.

    Port 0 is a free one.

    Raises:
        InputError: the host or the port can't be used.
    """
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(page, host, port, announce))


async def _serve(page: LivePage, host: str, port: int, announce: Callable[[str], None]) -> None:
    token = secrets.token_urlsafe(32)
    runner = web.AppRunner(
        application(page, host=host, token=token), access_log=None, shutdown_timeout=1
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(
                f"can't listen at --host {host} --port {port} ({reason}); choose another, or port "
                "0 for a free one"
            ) from error
        name, bound, *_ = runner.addresses[0]
        name = socket.gethostname() if host in _ANY else name
        announce(f"http://{f'[{name}]' if ':' in name else name}:{bound}/?token={token}")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def application(page: LivePage, *, host: str, token: str) -> web.Application:
    """The web application: `/` is the page, `/version` its version as an ETag.

    `host` is the address that it listens at.
    """
    cookie = f"w2s_{hashlib.sha256(token.encode()).hexdigest()[:12]}"

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not is_own_host(request.headers.get("Host", ""), host):
            raise web.HTTPForbidden(text="this host name is not the server's")
        given = request.query.get("token")
        if not _is_equal(given or request.cookies.get(cookie, ""), token):
            raise web.HTTPForbidden(text="open the address that w2s serve has printed")
        if given is None:
            return await handler(request)
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(cookie, token, httponly=True, samesite="Lax")
        return response

    async def read_page(request: web.Request) -> web.Response:
        made = await _read(page.page)
        if made is None:
            return web.Response(body=page.waiting(), content_type="text/html", charset="utf-8")
        if _has(request, made.version):
            return _not_modified(made.version)
        return web.Response(
            body=made.html,
            content_type="text/html",
            charset="utf-8",
            headers={**_PAGE_POLICY, "ETag": f'"{made.version}"'},
        )

    async def read_version(request: web.Request) -> web.Response:
        version = await _read(page.version) or "none"
        if _has(request, version):
            return _not_modified(version)
        return web.json_response({"version": version}, headers={"ETag": f'"{version}"'})

    app = web.Application(middlewares=[check])
    app.router.add_get("/", read_page, allow_head=False)
    app.router.add_get("/version", read_version, allow_head=False)
    app.on_response_prepare.append(_add_headers)
    return app


def is_own_host(header: str, host: str) -> bool:
    """Whether a request's `Host` names this server, which listens at `host`.

    The port may be another, as behind a tunnel. At all addresses any IP address is right, since no
    name server can give it to another machine.
    """
    try:
        name = urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return False
    if name in LOOPBACK or name == host.lower():
        return True
    if host not in _ANY:
        return False
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(name)
        return True
    return name in {socket.gethostname().lower(), socket.getfqdn().lower()}


async def _read(read: Callable[[], T]) -> T:
    """What `read` returns, on a thread; a store that can't be read gives status 503."""
    try:
        return await asyncio.to_thread(read)
    except InputError as error:
        raise web.HTTPServiceUnavailable(text=str(error)) from error


def _is_equal(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def _has(request: web.Request, version: str) -> bool:
    return any(tag.value == version for tag in request.if_none_match or ())


def _not_modified(version: str) -> web.Response:
    return web.Response(status=304, headers={"ETag": f'"{version}"'})


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "w2s"  # without versions
