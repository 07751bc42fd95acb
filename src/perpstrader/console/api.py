"""The routes: a skin over ``trader.commands`` and the trace store; each answer is one of the types that they return."""

from __future__ import annotations

import logging
from typing import Annotated, Any, Final

import msgspec
from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.exceptions import HTTPException, NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from perpstrader import __version__
from perpstrader.breakers import BreakerStatus
from perpstrader.domain import MoneyError, PerpsTraderError
from perpstrader.domain.traces import Trace
from perpstrader.monitor import PerformanceReport
from perpstrader.monitor.openmetrics import CONTENT_TYPE
from perpstrader.recovery import RecoveryError
from perpstrader.traces import TraceSummary, explain, life_of
from perpstrader.traces.contract import TraceStore
from perpstrader.trader.commands import CommandError, CommandResult, Commands, Confirmation, HealthView, SignalRequest
from perpstrader.trader.recovering import RecoveryReport
from perpstrader.trader.risking import RiskReport
from perpstrader.trader.status import DecisionRow, OrderRow, PositionRow, Status

_LOG = logging.getLogger(__name__)
_MAX_BODY_BYTES: Final = 64 * 1024
_Limit = Annotated[int, QueryParameter(ge=1, le=1_000)]
_Name = FromQuery[str | None]
_Actor = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_Reason = Annotated[str, msgspec.Meta(max_length=1_000)]
_Key = Annotated[str, msgspec.Meta(max_length=128)]


class Health(msgspec.Struct, frozen=True):
    """The process answers; whether it trades is in the status."""

    alive: bool
    version: str


class Problem(msgspec.Struct, frozen=True):
    """Why there is no answer, in one sentence."""

    error: str


class TraceView(msgspec.Struct, frozen=True):
    """One decision, and the same in plain words."""

    trace: Trace
    explanation: list[str]


class SignalOrder(SignalRequest, kw_only=True, forbid_unknown_fields=True):
    """A signal, and who gives it."""

    actor: _Actor = "api"


class Halt(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Stop entries, or open or reset a breaker. The same ``key`` is carried out once."""

    reason: _Reason
    actor: _Actor = "api"
    key: _Key = ""


class Prepare(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Ask for the confirmation of a dangerous action (``flatten`` or ``resume``)."""

    action: str
    arguments: dict[str, str] = msgspec.field(default_factory=dict)


class Confirmed(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Carry out what was prepared; the ``token`` is the confirmation's. The same ``key`` is carried out once."""

    reason: _Reason
    token: str
    actor: _Actor = "api"
    key: _Key = ""


class Recover(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Take a position out: ``close`` or ``reduce`` (half of it); ``reset`` counts its recovery attempts anew."""

    action: str
    reason: _Reason
    actor: _Actor = "api"
    key: _Key = ""


class Close(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Close one position at market."""

    reason: _Reason = ""
    actor: _Actor = "api"


def build_app(commands: Commands, traces: TraceStore) -> Litestar:
    """The application; it never shows the details of an unexpected error to who asked."""
    return Litestar(
        route_handlers=[*_reads(commands), *_records(traces), *_commands(commands)],
        openapi_config=OpenAPIConfig(
            title="PerpsTrader control port", version=__version__, path="/schema", use_handler_docstrings=True,
            render_plugins=[JsonRenderPlugin(path="/openapi.json")],
        ),
        exception_handlers={PerpsTraderError: _said, HTTPException: _bad_request, Exception: _unexpected},
        request_max_body_size=_MAX_BODY_BYTES, logging_config=None,
    )  # fmt: skip


def _reads(commands: Commands) -> list[HTTPRouteHandler]:
    @get("/api/healthz")
    async def healthz() -> Health:
        """The process answers."""
        return Health(alive=True, version=__version__)

    @get("/api/status")
    async def status() -> Status:
        """The trader now."""
        return commands.status()

    @get("/api/positions")
    async def positions() -> tuple[PositionRow, ...]:
        """Open positions with their stops and distances to liquidation."""
        return commands.status().positions

    @get("/api/orders")
    async def orders() -> tuple[OrderRow, ...]:
        """Orders that the venue may still execute."""
        return commands.status().orders

    @get("/api/decisions")
    async def decisions() -> tuple[DecisionRow, ...]:
        """The last decisions with their reasons."""
        return commands.status().decisions

    @get("/api/perf")
    async def perf() -> PerformanceReport:
        """How long each stage takes and how often it fails, since the start."""
        return commands.performance()

    @get("/api/recovery")
    async def recovery() -> RecoveryReport:
        """What recovery finds wrong with positions, what became of it, and the attempts."""
        return commands.recovery()

    @get("/api/risk")
    async def risk() -> RiskReport:
        """The day against its limits, each position's risk and stop, what of each limit is used, the halts."""
        return commands.risk()

    @get("/api/breakers")
    async def breakers() -> tuple[BreakerStatus, ...]:
        """Every circuit breaker: its state, its window, its probes, its calls."""
        return commands.breakers()

    @get("/api/health")
    async def health(component: _Name = None, limit: _Limit = 100) -> HealthView:
        """The last round of health checks and the results before it; asking checks nothing."""
        return commands.health(component, limit)

    @get("/metrics", media_type=CONTENT_TYPE)
    async def metrics() -> str:
        """The same as OpenMetrics text, for Prometheus and its like; it needs the token too."""
        return commands.metrics()

    return [healthz, status, positions, orders, decisions, perf, recovery, risk, breakers, health, metrics]


def _records(traces: TraceStore) -> list[HTTPRouteHandler]:
    @get("/api/traces")
    async def recent(limit: _Limit = 50, symbol: _Name = None, strategy: _Name = None) -> list[TraceSummary]:
        """The newest decisions, newest first."""
        return await traces.summaries(limit, symbol=symbol, strategy=strategy)

    @get("/api/traces/{trace_id:str}")
    async def one(trace_id: FromPath[str]) -> TraceView:
        """One decision with everything that it saw, said and led to."""
        trace = await traces.get(trace_id)
        if trace is None:
            raise NotFoundException(f"there is no trace {trace_id}")
        return TraceView(trace=trace, explanation=explain(trace, await life_of(traces, trace)))

    return [recent, one]


def _commands(commands: Commands) -> list[HTTPRouteHandler]:
    @post("/api/signals", status_code=200)
    async def signals(data: JSONBody[SignalOrder]) -> CommandResult:
        """Judge a signal and carry it out; ``done`` is false where it is refused, ``text`` says why."""
        fields = {name: getattr(data, name) for name in SignalRequest.__struct_fields__}
        return await commands.signal(SignalRequest(**fields), actor=data.actor)

    @post("/api/halt", status_code=200)
    async def halt(data: JSONBody[Halt]) -> CommandResult:
        """No entries from now on; exits and protection go on."""
        return await commands.halt(data.reason, actor=data.actor, key=data.key)

    @post("/api/breakers/{name:str}/open", status_code=200)
    async def open_breaker(name: FromPath[str], data: JSONBody[Halt]) -> CommandResult:
        """Open a breaker until it is reset; exits and protection go on."""
        return await commands.open_breaker(name, data.reason, actor=data.actor, key=data.key)

    @post("/api/breakers/{name:str}/reset", status_code=200)
    async def reset_breaker(name: FromPath[str], data: JSONBody[Halt]) -> CommandResult:
        """Close a breaker, whatever opened it."""
        return await commands.reset_breaker(name, data.reason, actor=data.actor, key=data.key)

    @post("/api/prepare", status_code=200)
    async def prepare(data: JSONBody[Prepare]) -> Confirmation:
        """What an action would do, and the token that makes it happen, once, within a minute."""
        return commands.prepare(data.action, data.arguments)

    @post("/api/flatten", status_code=200)
    async def flatten(data: JSONBody[Confirmed]) -> CommandResult:
        """Halt, cancel entries, close every position, verify."""
        return await commands.flatten(data.reason, actor=data.actor, token=data.token, key=data.key)

    @post("/api/resume", status_code=200)
    async def resume(data: JSONBody[Confirmed]) -> CommandResult:
        """Release the halts that an operator may release."""
        return await commands.resume(data.reason, actor=data.actor, token=data.token, key=data.key)

    @post("/api/positions/{symbol:str}/recover", status_code=200)
    async def recover(symbol: FromPath[str], data: JSONBody[Recover]) -> CommandResult:
        """Close or halve one position; ``done`` once the venue shows it."""
        return await commands.recover(symbol, data.action, data.reason, actor=data.actor, key=data.key)

    @post("/api/positions/{symbol:str}/close", status_code=200)
    async def close(symbol: FromPath[str], data: JSONBody[Close]) -> CommandResult:
        """Close one position."""
        return await commands.close(symbol, data.reason, actor=data.actor)

    return [signals, halt, open_breaker, reset_breaker, prepare, flatten, resume, recover, close]


_Asked = Request[Any, Any, Any]


def _problem(status: int, sentence: str) -> Response[Problem]:
    return Response(Problem(error=sentence), status_code=status, media_type=MediaType.JSON)


def _said(request: _Asked, error: PerpsTraderError) -> Response[Problem]:
    """What cannot be done as asked is 400; what went wrong in doing it is 409."""
    return _problem(400 if isinstance(error, CommandError | MoneyError | RecoveryError) else 409, str(error))


def _bad_request(request: _Asked, error: HTTPException) -> Response[Problem]:
    """One sentence; what the reader of the body found is added."""
    found = [f"{item.get('key', '')}: {item.get('message', '')}".strip(": ") for item in _findings(error)]
    return _problem(error.status_code, "; ".join([error.detail, *found]) if found else error.detail)


def _findings(error: HTTPException) -> list[dict[str, str]]:
    extra = error.extra
    return [item for item in extra if isinstance(item, dict)] if isinstance(extra, list) else []


def _unexpected(request: _Asked, error: Exception) -> Response[Problem]:
    _LOG.error("a request to %s failed", request.url.path, exc_info=error)
    return _problem(500, "the trader could not answer this; the details are in its log")

