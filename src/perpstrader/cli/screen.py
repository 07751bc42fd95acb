"""The live table of ``run`` and the page of ``status``: one status, made readable."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.text import Text

from perpstrader.cli.output import (
    DECISION_COLUMNS,
    ORDER_COLUMNS,
    POSITION_COLUMNS,
    VERDICT_STYLES,
    age_text,
    clock_text,
    decision_cells,
    decision_line,
    halt_text,
    order_cells,
    position_cells,
    table,
)
from perpstrader.domain.wording import moment_text
from perpstrader.trader.status import DecisionRow, Status

_DECISIONS = 8
_INCIDENTS = 3


def render(status: Status, urls: Mapping[str, str], *, live: bool = False) -> RenderableType:
    """The whole status, gravest first; ``live`` is cut at the terminal's last line, so the newest decision comes first,
    and each takes one line.
    """
    parts: list[RenderableType] = [*summary(status, urls)]
    if status.positions:
        parts.append(table("Positions", POSITION_COLUMNS, [position_cells(row) for row in status.positions]))
    else:
        parts.append(Text("No position is open.", style="dim"))
    entries = [row for row in status.orders if row.purpose == "entry"]
    if entries:
        parts.append(table("Entries in flight", ORDER_COLUMNS, [order_cells(row) for row in entries]))
    newest = status.decisions[-_DECISIONS:]
    if not newest:
        parts.append(Text("No decision yet.", style="dim"))
    elif live:
        parts.append(Text("Last decisions", style="italic"))
        parts += [_line(row) for row in reversed(newest)]
    else:
        parts.append(table("Last decisions", DECISION_COLUMNS, [decision_cells(row) for row in newest]))
    return Group(*parts)


def _line(row: DecisionRow) -> Text:
    style = VERDICT_STYLES.get(row.verdict, "")
    return Text(f"{clock_text(row.time_ms)} {decision_line(row)}", style, no_wrap=True, overflow="ellipsis")


def summary(status: Status, urls: Mapping[str, str]) -> list[Text]:
    """Who and where, the money and the counts, and whatever is wrong, a line each."""
    return [_head(status, urls), _money(status), _ages(status), *_shared_record(status), *_alarms(status)]


def _head(status: Status, urls: Mapping[str, str]) -> Text:
    network = Text(f" {status.network} ", style="bold white on red" if status.network == "mainnet" else "bold reverse")
    links = " · ".join(f"{name}: {url}" for name, url in urls.items())
    up_s = (status.time_ms - status.started_ms) // 1000
    return Text.assemble(
        network,
        f" {status.account} · {moment_text(status.time_ms)} UTC · up {up_s // 60}:{up_s % 60:02d}",
        f"\n{links}" if links else "",
    )


def _money(status: Status) -> Text:
    made = status.earnings
    change = made.equity_change_usd if made is not None else status.net_pnl_usd
    open_usd = made.open_usd if made is not None else "-"
    tone = "green" if float(change) > 0 else "red" if float(change) < 0 else ""
    reasons = sorted(status.refused_by_reason.items(), key=lambda item: -item[1])
    named = [f"{reason} {count}" for reason, count in reasons[:3]]
    others = sum(count for _, count in reasons[3:])
    refused = f" ({', '.join(named)}{f', {others} for others' if others else ''})" if named else ""
    return Text.assemble(
        ("equity ", "dim"), (f"{status.equity_usd} USD", "bold"), ("  since the start ", "dim"), (change, tone),
        ("  realised ", "dim"), status.net_pnl_usd, ("  open ", "dim"), open_usd,
        ("  realised today ", "dim"), status.day_realized_usd, ("  fees ", "dim"), status.fees_usd,
        ("  funding ", "dim"), status.funding_usd, ("  drawdown ", "dim"), f"{status.drawdown_pct} %",
        ("  free ", "dim"), status.available_usd,
        ("\nbars ", "dim"), str(status.bars), ("  signals ", "dim"), str(status.signals), ("  approved ", "dim"),
        str(status.approved), ("  refused ", "dim"), f"{status.refused}{refused}", ("  orders ", "dim"),
        str(status.orders_sent), ("  fills ", "dim"), str(status.fills), ("  longest without a stop ", "dim"),
        f"{status.max_unprotected_ms} ms",
    )  # fmt: skip


def _ages(status: Status) -> Text:
    """How old the figures above are: they are those of the venue only as long as it is heard."""
    oldest = max(status.mark_ages_ms, key=lambda symbol: status.mark_ages_ms[symbol], default="")
    parts = [
        f"marks {age_text(status.mark_ages_ms[oldest])} ({oldest})" if oldest else "no mark heard yet",
        f"account {age_text(status.account_age_ms)}", f"stream {age_text(status.stream_age_ms)}",
        f"compared with the venue {age_text(status.compared_age_ms)}",
    ]  # fmt: skip
    is_old = not status.connected or status.unreachable_since_ms is not None
    return Text(f"as of: {' · '.join(parts)} ago", style="red" if is_old else "dim")


def _shared_record(status: Status) -> list[Text]:
    """Of a trader whose decisions are shipped, how that stands."""
    shipping = status.shared_record
    if shipping is None:
        return []
    return [Text(f"shared record: {shipping.text}", style="dim" if shipping.away_ms is None else "yellow")]


def _alarms(status: Status) -> list[Text]:
    lines = [
        Text(halt_text(halt), style="bold red") for halt in status.halts
    ]
    if status.stopping:
        return [*lines, Text("the trader is stopping", style="yellow")]
    if not status.halts and status.why_not:
        lines.append(Text(f"no entries: {status.why_not}", style="red"))
    if status.unreachable_since_ms is not None:
        since = f"the venue has not answered since {moment_text(status.unreachable_since_ms)} UTC"
        kept = "stops rest there; what is to be closed is asked for until it answers"
        lines.append(Text(f"{since}; {kept}; positions and protection are shown as of then", style="bold red"))
    elif not status.connected:
        lines.append(Text("the venue's stream is down; exits and protection go on by request", style="red"))
    if not status.reconciled:
        lines.append(Text("the books are being compared with the venue; entries wait", style="yellow"))
    lines += [Text(f"not judged: {limit}", style="yellow") for limit in status.inactive]
    if status.heartbeats_late:
        lines.append(Text(f"late: {', '.join(status.heartbeats_late)}", style="red"))
    troubles = [(row.trouble, "red" if row.failing_since_ms is not None else "dim") for row in status.strategies]
    lines += [Text(f"! {text}", style=style) for text, style in troubles if text]
    lines += [Text(f"! {incident}", style="yellow") for incident in status.incidents[-_INCIDENTS:]]
    lines += [
        Text(f"alert {clock_text(a.time_ms)} {a.severity} {a.change}: {a.title}: {a.text}", style="dim")
        for a in status.alerts[-_INCIDENTS:]
    ]
    failing = [channel for channel in status.alert_channels if channel.error]
    lines += [Text(f"alerts by {channel.name} do not go out: {channel.error}", style="red") for channel in failing]
    return lines
