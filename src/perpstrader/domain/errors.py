"""The errors of PerpsTrader, drawn as one tree.

::

    PerpsTraderError                 a clear sentence for a person; never a stack trace on a terminal
    ├── MoneyError                   a number that is no money: float, non-finite, out of range
    ├── UsageError                   what was asked with does not exist: a strategy, an interval, a file
    ├── SettingsError                a key, its value, what is allowed           (settings)
    ├── FeedError                    a recorded or generated market that cannot be used   (paper)
    ├── StateError                   the file on disk cannot be read, is newer, or is held by another
    │   └── AccountLockedError       a second trader on the same account
    ├── NotStartedError              a stop was asked for before the start had sent anything
    ├── VenueError                   the venue said no, or could not be asked    (venue)
    └── UnsafeError                  going on would not be safe; entries stay closed
"""

from __future__ import annotations


class PerpsTraderError(Exception):
    """Base of all errors that a user may meet: ``str(error)`` is one clear sentence without secrets."""


class MoneyError(PerpsTraderError):
    """A value that must not become money: a float, a non-finite number, or one out of its range."""


class UsageError(PerpsTraderError):
    """A name or value that was asked with and that there is not; nothing was done."""


class StateError(PerpsTraderError):
    """State on disk that cannot be used: unreadable, from a newer program, or damaged."""


class AccountLockedError(StateError):
    """Another process already trades this account with this data directory."""


class NotStartedError(PerpsTraderError):
    """A stop was asked for while the trader had not sent anything yet; nothing was done."""


class VenueError(PerpsTraderError):
    """The venue refused a request or could not be asked; no signed action is left in doubt."""


class UnsafeError(PerpsTraderError):
    """A fact that trading relies on is missing or contradicts another; entries stop until it is settled."""
