"""The routes: the page and its parts, the JSON of the views, the stream of what has moved."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import plotly
from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from genesys_engine.engine.dashboard.access import Guard, Hosts
from genesys_engine.engine.dashboard.answers import (
    compare,
    control,
    designs,
    knowledge,
    overview,
    study,
)
from genesys_engine.engine.dashboard.answers import design as one
from genesys_engine.engine.dashboard.catalogue import RUN, STUDY, Catalogue
from genesys_engine.engine.dashboard.feed import Feed
from genesys_engine.engine.dashboard.watch import Moment, problem_of
from genesys_engine.engine.report.templates import HERE as REPORT
from genesys_engine.engine.run.requests import Refused
from genesys_engine.gab.errors import GenesysError, InputError

STATIC = Path(__file__).parent / "static"
PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".html": "text/html",
    ".svg": "image/svg+xml",
}

Answer = Callable[[Request], Awaitable[Response]]
Make = Callable[[Moment, Request], object]


class Dashboard:
    """Answers for the runs of a catalogue.

    Args:
        control: runs can be stopped and designs pinned from the page.
    """

    def __init__(self, catalogue: Catalogue, *, control: bool = False) -> None:
        self.catalogue = catalogue
        self.control = control
        self.feed = Feed()
        self._bases = knowledge.Bases()

    def app(self, *, token: str, hosts: Hosts, port: int) -> Guard:
        """Return the application, which answers nobody without the token."""
        app = Starlette(routes=[*self._files(), *self._answers(), *self._controls()])
        return Guard(app, token=token, hosts=hosts, port=port)

    def _files(self) -> list[Route]:
        """Return a route for each file of the page: no path is ever made from a request."""
        files = {f"/static/{path.name}": path for path in STATIC.iterdir() if path.is_file()}
        files |= {f"/static/{name}": REPORT / name for name in ("report.css", "colours.js")}
        files |= {"/static/plotly.min.js": PLOTLY, "/": STATIC / "index.html"}
        return [Route(at, _file(path)) for at, path in files.items()]

    def _answers(self) -> list[Route]:
        run, design = "/api/runs/{run}", "/api/runs/{run}/designs/{design:int}"
        return [
            Route("/api/runs", _guarded(self._listed)),
            Route("/events", self._events),
            Route(f"{run}/status", self._now(self._status)),
            Route(f"{run}/finals", self._kept(_of_run(overview.run_finals))),
            Route(f"{run}/tree", self._kept(_of_run(designs.tree))),
            Route(f"{run}/fitness", self._kept(_of_run(designs.fitness))),
            Route(f"{run}/failures", self._kept(_of_run(designs.causes))),
            Route(f"{run}/llm", self._now(_of_run(designs.language_models))),
            Route(f"{run}/work", self._kept(_of_run(designs.work))),
            Route(f"{run}/leaderboard", self._kept(_board)),
            Route(f"{run}/pareto", self._kept(_pareto)),
            Route(f"{design}/brief", self._kept(_of_design(designs.brief))),
            Route(design, self._kept(_of_design(one.details))),
            Route(f"{design}/code", self._kept(_of_design(one.code))),
            Route(f"{design}/difference/{{other:int}}", self._kept(_difference)),
            Route(f"{design}/curves", self._now(_of_design(one.curves))),
            Route(f"{design}/pin", self._now(self._pin_state), methods=["GET"]),
            Route(f"{design}/conversation", self._kept(_of_design(one.conversation))),
            Route("/api/compare", _guarded(self._compared)),
            Route("/api/compare/code", _guarded(self._code_compared)),
            Route("/api/studies/{study}", _guarded(self._study)),
            Route("/api/knowledge", _guarded(self._found)),
        ]

    def _controls(self) -> list[Route]:
        """Return what changes something; without `control` there is no such address."""
        if not self.control:
            return []
        run, post = "/api/runs/{run}", ["POST"]
        stop, pin = self._now(_of_run(control.stop)), self._now(_of_design(control.pin))
        return [
            Route(f"{run}/stop", stop, methods=post),
            Route(f"{run}/designs/{{design:int}}/pin", pin, methods=post),
        ]

    # --- kinds of answers ----------------------------------------------------------------------

    def _kept(self, make: Make) -> Answer:
        """Answer with what is made of a run once for each state of its log."""

        def answer(request: Request) -> bytes:
            entry = self.catalogue.run(request.path_params["run"])
            key = f"{request.url.path}?{request.url.query}"
            return entry.watch.answer(key, lambda moment: encoded(make(moment, request)))

        return _guarded(answer)

    def _now(self, make: Make) -> Answer:
        """Answer with what is made of a run anew each time: the clock counts, and curves grow
        without an event."""

        def answer(request: Request) -> bytes:
            entry = self.catalogue.run(request.path_params["run"])
            with entry.watch.moment() as moment:
                return encoded(make(moment, request))

        return _guarded(answer)

    # --- what depends on whether the page may control ------------------------------------------

    def _status(self, moment: Moment, request: Request) -> object:
        state = control.stop_state(moment, allowed=self.control)
        return {**overview.run_status(moment), "stop": state}

    def _pin_state(self, moment: Moment, request: Request) -> object:
        design = request.path_params["design"]
        return {"pin": control.pin_state(moment, design, allowed=self.control)}

    # --- what is not of one run ----------------------------------------------------------------

    def _compared(self, request: Request) -> bytes:
        named = compare.chosen(self.catalogue, request.query_params.get("d", ""))
        return encoded(compare.side_by_side(named))

    def _code_compared(self, request: Request) -> bytes:
        named = compare.chosen(self.catalogue, request.query_params.get("d", ""))
        if len(named) != 2:
            raise InputError("the code of two designs is compared, no more and no less")
        return encoded(compare.code_difference(*named))

    def _study(self, request: Request) -> bytes:
        entry = self.catalogue.get(request.path_params["study"])
        if entry.kind != STUDY:
            raise InputError("this is a run, not a study")
        return encoded(study.study(self.catalogue, entry))

    def _found(self, request: Request) -> bytes:
        key = request.query_params.get("run", "")
        entry = self.catalogue.run(key) if key else None
        return encoded(self._bases.search(entry, request.query_params.get("words", "")))

    def _listed(self, request: Request) -> bytes:
        return encoded(overview.listed(self.catalogue.entries()))

    async def _events(self, request: Request) -> Response:
        """Stream what moves: of one run, or of all where none is named."""
        try:
            key = request.query_params.get("run")
            entries = await run_in_threadpool(self.catalogue.entries)
            entries = [each for each in entries if each.kind == RUN]
            entries = entries if key is None else [self.catalogue.run(key)]
        except InputError as error:
            return _problem(error, 404)
        return EventSourceResponse(self.feed.listen(entries), ping=15)


def _of_run(make: Callable[[Moment], object]) -> Make:
    return lambda moment, request: make(moment)


def _of_design(make: Callable[[Moment, int], object]) -> Make:
    return lambda moment, request: make(moment, request.path_params["design"])


def _difference(moment: Moment, request: Request) -> object:
    named = request.path_params
    return one.difference(moment, named["design"], named["other"])


def _board(moment: Moment, request: Request) -> object:
    return designs.board(moment, _asked_rows(request.query_params))


def _pareto(moment: Moment, request: Request) -> object:
    asked = request.query_params
    return designs.pareto(moment, asked.get("x", ""), asked.get("y", ""))


def _asked_rows(asked: Mapping[str, str]) -> designs.Asked:
    """Return which rows are asked for.

    Raises:
        InputError: a number is none.
    """
    try:
        offset, limit = int(asked.get("offset", "0")), int(asked.get("limit", "50"))
    except ValueError:
        raise InputError("`offset` and `limit` are whole numbers") from None
    if offset < 0 or limit < 1:
        raise InputError("`offset` is 0 or more, `limit` 1 or more")
    return designs.Asked(
        sort=asked.get("sort", "rank"),
        descending=asked.get("descending", "") == "1",
        words=asked.get("words", ""),
        rung=asked.get("rung", ""),
        origin=asked.get("origin", ""),
        offset=offset,
        limit=limit,
    )


# --- from Python to HTTP -----------------------------------------------------------------------


def encoded(data: object) -> bytes:
    """Return data as JSON.

    Raises:
        ValueError: it holds NaN or infinity.
    """
    return json.dumps(data, allow_nan=False, separators=(",", ":")).encode()


def _guarded(make: Callable[[Request], bytes]) -> Answer:
    """Return an endpoint that answers in a thread; what is wrong is a message, not a traceback."""

    async def answer(request: Request) -> Response:
        try:
            body = await run_in_threadpool(make, request)
        except Refused as error:
            return _problem(error, 409)
        except InputError as error:
            return _problem(error, 404)
        except (GenesysError, sqlite3.DatabaseError, OSError) as error:
            return _problem(error, 503)
        return Response(body, media_type="application/json")

    return answer


def _problem(error: BaseException, status: int) -> Response:
    return Response(encoded({"problem": problem_of(error)}), status, media_type="application/json")


def _file(path: Path) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        headers = {"cache-control": "private, max-age=3600"} if path == PLOTLY else {}
        return FileResponse(path, media_type=_TYPES[path.suffix], headers=headers)

    return answer
