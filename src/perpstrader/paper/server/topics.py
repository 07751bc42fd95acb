"""Who listens to what: subscriptions, and the sockets behind each."""

from __future__ import annotations

from collections.abc import Callable

from perpstrader.venue.wire.ws import Subscription

Send = Callable[[bytes], None]


class Topic:
    """One stream and its listeners; ``shown`` is what was sent last, where only changes are sent."""

    __slots__ = ("_listeners", "shown", "subscription")

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.shown: object = None
        self._listeners: tuple[Send, ...] = ()

    def send(self, frame: bytes) -> None:
        """Hand one frame to every listener, in the order of their subscribing."""
        for send in self._listeners:
            send(frame)

    def add(self, send: Send) -> None:
        """One listener more."""
        self._listeners = (*self._listeners, send)

    def drop(self, send: Send) -> bool:
        """One listener less; tells whether any is left."""
        self._listeners = tuple([one for one in self._listeners if one != send])
        return bool(self._listeners)


class Topics:
    """All streams with listeners, found by kind and by the coin or user that they are about (``""`` for neither)."""

    def __init__(self) -> None:
        self._by_key: dict[Subscription, Topic] = {}
        self._by_name: dict[tuple[str, str], tuple[Topic, ...]] = {}

    def of(self, kind: str, name: str) -> tuple[Topic, ...]:
        """The streams of one kind about one coin or user."""
        return self._by_name.get((kind, name), ())

    def of_kind(self, kind: str) -> list[Topic]:
        """All streams of one kind."""
        return [topic for topic in self._by_key.values() if topic.subscription.type == kind]

    def add(self, subscription: Subscription, send: Send) -> None:
        """Listen to a stream; ``subscription`` is in its key form."""
        topic = self._by_key.get(subscription)
        if topic is None:
            topic = self._by_key[subscription] = Topic(subscription)
            name = _name(subscription)
            self._by_name[name] = (*self._by_name.get(name, ()), topic)
        topic.add(send)

    def drop(self, subscription: Subscription, send: Send) -> None:
        """Listen no longer; a stream without listeners costs nothing."""
        topic = self._by_key.get(subscription)
        if topic is None or topic.drop(send):
            return
        del self._by_key[subscription]
        name = _name(subscription)
        left = tuple([one for one in self._by_name[name] if one is not topic])
        if left:
            self._by_name[name] = left
        else:
            del self._by_name[name]


def _name(subscription: Subscription) -> tuple[str, str]:
    return subscription.type, subscription.user or subscription.coin or ""
