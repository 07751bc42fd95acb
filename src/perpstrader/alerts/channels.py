"""The channels that alerts go out by: the log, the console's last alerts, and any service that ``apprise`` knows.

An address holds a token: no name, error or log line of a channel contains one.
"""

from __future__ import annotations

import importlib
import logging
import re
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from pydantic import SecretStr

from perpstrader.alerts.incidents import Alert, Change, Severity
from perpstrader.domain import PerpsTraderError
from perpstrader.runtime import Executor
from perpstrader.settings import AlertSettings

_SHOWN: Final = 50
_SCHEME: Final = re.compile(r"([a-z][a-z0-9]{1,15})://", re.IGNORECASE)
_TALKERS: Final = ("apprise", "urllib3")
"""Loggers that write addresses, tokens included, when a delivery fails."""


class ChannelError(PerpsTraderError):
    """A delivery failed; the sentence says why, without any secret."""


class Channel(Protocol):
    """One way to a person. ``send`` may take its time and may raise: whoever calls it waits in a task of his own."""

    @property
    def name(self) -> str:
        """Unique, and without secrets."""
        ...

    @property
    def is_local(self) -> bool:
        """True where nothing leaves this process; only such a channel is told that another one fails."""
        ...

    async def send(self, alert: Alert) -> None:
        """The alert is delivered when this returns; raises ``ChannelError`` when it was not."""
        ...

    def close(self) -> None:
        """No more alerts; does not wait for a delivery that hangs."""
        ...


class LogChannel:
    """Hands every alert to the log that it is given."""

    name: Final = "log"
    is_local: Final = True

    def __init__(self, write: Callable[[Alert], None]) -> None:
        self._write = write

    async def send(self, alert: Alert) -> None:
        """One line in the log."""
        self._write(alert)

    def close(self) -> None:
        """Nothing is open."""


class RingChannel:
    """Keeps the newest alerts for the console and ``status``."""

    name: Final = "console"
    is_local: Final = True

    def __init__(self, shown: int = _SHOWN) -> None:
        self.alerts: deque[Alert] = deque(maxlen=shown)

    async def send(self, alert: Alert) -> None:
        """The oldest makes room."""
        self.alerts.append(alert)

    def close(self) -> None:
        """Nothing is open."""


class AppriseChannel:
    """One apprise address. It is used in the executor's thread, where apprise is also imported: that takes a while.

    After a delivery that hangs, each further one fails at once until it has ended, so that no work piles up behind it.
    A delivery that ends after its deadline may be repeated: an alert comes at least once.
    """

    is_local: Final = False

    def __init__(self, number: int, url: SecretStr, executor: Executor) -> None:
        scheme = _SCHEME.match(url.get_secret_value())
        self.name = f"apprise-{number}" + (f"-{scheme[1].lower()}" if scheme else "")
        self._number = number
        self._url = url
        self._executor = executor
        self._service: Any = None
        self._busy = False

    async def send(self, alert: Alert) -> None:
        """See ``Channel``."""
        if self._busy:
            raise ChannelError("the last delivery has not ended yet")
        self._busy = True
        await self._executor.run(lambda: self._deliver(alert))

    def close(self) -> None:
        """See ``Channel``."""
        self._executor.close()

    def _deliver(self, alert: Alert) -> None:
        try:
            delivered = self._notify(alert)
        except ChannelError:
            raise
        except Exception as error:
            # An error's text may hold the address; its kind does not.
            raise ChannelError(f"the service failed: {type(error).__name__}") from None
        finally:
            self._busy = False
        if not delivered:
            raise ChannelError("the service did not take it; check the address, its token and the network")

    def _notify(self, alert: Alert) -> bool:
        if self._service is None:
            self._service = _open_service(self._url, self._number)
        title = f"PerpsTrader {alert.subject}"
        return bool(self._service.notify(body=alert.body, title=title, notify_type=_type(alert)))


def make_channels(
    settings: AlertSettings, write_log: Callable[[Alert], None], executor_for: Callable[[str], Executor]
) -> tuple[Channel, ...]:
    """The log, the console, and a channel for each address of ``alerts.urls``, each with an executor of its own."""
    services = [
        AppriseChannel(number, url, executor_for(f"alerts-{number}")) for number, url in enumerate(settings.urls, 1)
    ]
    return LogChannel(write_log), RingChannel(), *services


def _open_service(url: SecretStr, number: int) -> Any:
    for talker in _TALKERS:
        logging.getLogger(talker).setLevel(logging.CRITICAL + 1)
    try:
        apprise = importlib.import_module("apprise")
    except ImportError:
        raise ChannelError(
            "alerts.urls is set, but apprise is not installed: pip install 'perpstrader[alerts]'"
        ) from None
    service = apprise.Apprise()
    if not service.add(url.get_secret_value()):
        raise ChannelError(f"address {number} of alerts.urls is none that apprise knows; write it as its pages say")
    return service


def _type(alert: Alert) -> str:
    """apprise's own word."""
    if alert.change is Change.OVER:
        return "success"
    return {Severity.INFO: "info", Severity.WARNING: "warning", Severity.CRITICAL: "failure"}[alert.incident.severity]
