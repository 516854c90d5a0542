"""Who may ask: the token, the cookie that stands for it, Host, Origin, and what a page may load.

A page on another site can make a browser send requests here, and a name that it resolves to this
machine would make them look like our own.  So every request needs the secret, its Host has to be
one of ours, and what changes anything has to come from a page of ours.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN = "token"
LOOPBACK = ("127.0.0.1", "localhost", "::1")

# Plotly adds one empty style element, whose hash this is, and fills it through the CSSOM.
_EMPTY_STYLE = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        f"style-src 'self' {_EMPTY_STYLE}",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}


def new_token() -> str:
    """Return a token that nobody can guess."""
    return secrets.token_urlsafe(24)


class Hosts:
    """The names under which this server may be asked.

    Args:
        bound: the address that it listens on.
        also: names that the user allows.

    An address in digits cannot be a name that somebody else resolves to us, so that any is allowed
    where the server listens to more than this machine.
    """

    def __init__(self, bound: str, also: Iterable[str] = ()) -> None:
        self._names = {name.lower() for name in (*LOOPBACK, bound, *also)}
        self._open = bound not in LOOPBACK
        if self._open:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    def allow(self, host: str) -> bool:
        """Tell whether `host`, as the header has it, is one of ours; its port does not count."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        return name in self._names or (self._open and _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Guard:
    """Lets through what carries the token, in its address or as a cookie, and refuses the rest."""

    def __init__(self, app: ASGIApp, *, token: str, hosts: Hosts, port: int) -> None:
        self._app = app
        self._token = token
        self._hosts = hosts
        self.cookie = f"genesys-dashboard-{port}"  # cookies do not tell ports apart

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        asked = _one(parse_qs(scope["query_string"].decode("latin-1")).get(TOKEN))
        by_address = self._is_token(asked)
        refusal = self._refusal(scope["method"], headers, by_address=by_address)
        app = self._app if refusal is None else refusal
        await app(scope, receive, self._protected(send, set_cookie=by_address and refusal is None))

    def _refusal(
        self, method: str, headers: Headers, *, by_address: bool
    ) -> PlainTextResponse | None:
        """Return why a request is refused; None where it is not."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._hosts.allow(host):
            return PlainTextResponse(
                f"This dashboard is not called {host!r}: use the address that `genesys-engine"
                " dashboard` printed, or allow the name with --allow-host.\n",
                421,
            )
        if not self._is_ours(method, origin, host, headers.get("sec-fetch-site")):
            return PlainTextResponse("Another site asks: refused.\n", 403)
        if by_address or self._is_token(_cookie(headers.get("cookie", ""), self.cookie)):
            return None
        return PlainTextResponse(
            "Open the whole address that `genesys-engine dashboard` printed: it ends with a"
            " token. A new start of the command has a new one.\n",
            401,
        )

    @staticmethod
    def _is_ours(method: str, origin: str | None, host: str, site: str | None) -> bool:
        """Tell whether a request comes from a page of ours, or from an address that was typed."""
        changes = method not in ("GET", "HEAD")
        if origin is None:
            return not changes and site in (None, "none", "same-origin", "cross-site", "same-site")
        return urlsplit(origin).netloc.lower() == host.lower()

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), self._token.encode())

    def _protected(self, send: Send, *, set_cookie: bool) -> Send:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
                if set_cookie:
                    headers.append("set-cookie", f"{self.cookie}={self._token}; {_COOKIE}")
            await send(message)

        return with_headers


_COOKIE = "Path=/; HttpOnly; SameSite=Strict"


def _cookie(text: str, name: str) -> str:
    try:
        found = SimpleCookie(text).get(name)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _one(values: list[str] | None) -> str:
    return values[0] if values else ""
