"""How often recovery has submitted an exit of each living episode; on disk, so that a restart counts on (S52)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from perpstrader.execution import Journal
from perpstrader.state import StateStore, Transaction

_STRATEGIES: Final = "recovery:strategies"


class Attempts:
    """Counts in memory and queues each count for the disk; an episode that ends takes its count along."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._of: dict[str, int] = {}

    async def restore(self, store: StateStore) -> tuple[str, ...]:
        """Take up the counts of the living episodes, and return those that have one; raises ``StateError`` where the
        store cannot be read.
        """
        episodes = await store.read(lambda tx: tx.episodes.active())
        self._of = {episode.id: episode.recovery_attempts for episode in episodes if episode.recovery_attempts}
        return tuple(self._of)

    def of(self, episode: str) -> int:
        """Submitted so far."""
        return self._of.get(episode, 0)

    def count(self, episode: str) -> int:
        """One more was submitted; how many that makes."""
        self._of[episode] = self.of(episode) + 1
        self._journal.later(lambda tx: _store(tx, episode))
        return self._of[episode]

    def reset(self, episode: str) -> None:
        """Count anew from zero."""
        self._of.pop(episode, None)
        self._journal.later(lambda tx: tx.episodes.reset_recovery_attempts(episode))

    def keep(self, episodes: Iterable[str]) -> None:
        """Forget all episodes but these: they have ended."""
        living = frozenset(episodes)
        self._of = {episode: count for episode, count in self._of.items() if episode in living}


async def note_loaded(store: StateStore, loaded: frozenset[str]) -> frozenset[str]:
    """Every strategy that this store has ever seen loaded, those that are loaded now among them; they are on disk."""

    def write(tx: Transaction) -> list[str]:
        known = sorted({*json.loads(tx.meta.get_text(_STRATEGIES) or "[]"), *loaded})
        tx.meta.put_text(_STRATEGIES, json.dumps(known))
        return known

    return frozenset(await store.transact(write))


def _store(tx: Transaction, episode: str) -> None:
    """An episode that the books have not got to yet has nothing to count in; its exits are on record all the same."""
    if tx.episodes.get(episode) is not None:
        tx.episodes.count_recovery_attempt(episode)
