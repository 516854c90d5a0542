"""A real dashboard on a free port of this machine, in a thread, and a real browser for it."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from genesys_engine.engine.dashboard.serve import Options, prepare

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NO_BROWSER = "no Chromium here: apt-get install chromium"


@dataclass(frozen=True)
class Served:
    """The address with its token, and its parts."""

    address: str

    @property
    def base(self) -> str:
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def port(self) -> int:
        return urlsplit(self.address).port or 0

    @property
    def token(self) -> str:
        return parse_qs(urlsplit(self.address).query)["token"][0]

    def at(self, view: str) -> str:
        """Return the address of a view, with the token."""
        return f"{self.address}#{view}"

    @contextmanager
    def client(self) -> Iterator[httpx.Client]:
        """Yield a client that has opened the address, as a browser does."""
        with httpx.Client(base_url=self.base, timeout=60, trust_env=False) as client:
            client.get("/", params={"token": self.token}).raise_for_status()
            yield client

    def json(self, path: str, **params: Any) -> Any:
        """Return an answer."""
        with self.client() as client:
            return client.get(path, params=params).raise_for_status().json()


@contextmanager
def served(runs: Iterable[Path], **options: Any) -> Iterator[Served]:
    """Serve runs as long as the block lasts."""
    prepared = prepare(runs, Options(**{"port": 0, **options}))
    thread = threading.Thread(target=prepared.run, daemon=True)
    thread.start()
    end = time.monotonic() + 30
    while not prepared.server.started:
        assert time.monotonic() < end, "the server does not start"
        time.sleep(0.02)
    try:
        yield Served(prepared.address)
    finally:
        prepared.server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the server does not end"


@contextmanager
def browser() -> Iterator[Any]:
    """Yield a headless Chromium; the test is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip(NO_BROWSER)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Its own sandbox needs a user who is not root; what it opens here is our own page.
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield chromium
        finally:
            chromium.close()


@contextmanager
def opened(chromium: Any, address: str, **context: Any) -> Iterator[Any]:
    """Yield a page of its own profile; what it says on its console is in `page.said`."""
    profile = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
    page = profile.new_page()
    page.set_default_timeout(60_000)
    page.said = []
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda asked: page.said.extend(_outside(asked.url, address)))
    try:
        page.goto(address)
        yield page
    finally:
        profile.close()


def _outside(url: str, address: str) -> list[str]:
    """Return a URL if a page asks somebody else than the dashboard for it."""
    parts = urlsplit(url)
    ours = parts.scheme not in ("http", "https") or parts.netloc == urlsplit(address).netloc
    return [] if ours else [url]
