"""A small venue for the engine's tests: two coins, two users, prices in USD and sizes in coins."""

from __future__ import annotations

from decimal import Decimal

from perpstrader.paper.engine import (
    EngineAsset,
    EngineConfig,
    Event,
    Exchange,
    Fill,
    FillEvent,
    Grouping,
    Level,
    MarginTier,
    MarketUpdate,
    NewOrder,
    OrderUpdate,
    PlaceResult,
    Reject,
    Tif,
    Tpsl,
    TradePrint,
    Trigger,
)
from perpstrader.paper.engine.assets import MICRO

ALICE, BOB, CAROL = "0xa1", "0xb0", "0xca"
SOL = EngineAsset(coin="SOL", index=5, size_decimals=2, max_leverage=20)
BTC = EngineAsset(
    coin="BTC",
    index=0,
    size_decimals=5,
    max_leverage=40,
    tiers=(MarginTier(0, 40), MarginTier(150_000_000 * MICRO, 20)),
    impact_notional=20_000 * MICRO,
)
ASSETS = {asset.coin: asset for asset in (SOL, BTC)}


def price(usd: str | int, coin: str = "SOL") -> int:
    """USD as price units."""
    return int(Decimal(usd).scaleb(ASSETS[coin].price_decimals))


def lots(size: str | int, coin: str = "SOL") -> int:
    """Coins as lots."""
    return int(Decimal(size).scaleb(ASSETS[coin].size_decimals))


def usd(amount: str | int) -> int:
    """USD as micro-USD."""
    return int(Decimal(amount).scaleb(6))


def levels(*rows: tuple[str | int, str | int], coin: str = "SOL") -> tuple[Level, ...]:
    """(price, size) rows as levels."""
    return tuple(Level(price(p, coin), lots(s, coin)) for p, s in rows)


def stop(trigger: str | int, *, market: bool = True, coin: str = "SOL") -> Trigger:
    """A stop-loss trigger."""
    return Trigger(market, price(trigger, coin), Tpsl.SL)


def target(trigger: str | int, *, market: bool = True, coin: str = "SOL") -> Trigger:
    """A take-profit trigger."""
    return Trigger(market, price(trigger, coin), Tpsl.TP)


class Box:
    """An exchange with a clock of its own; SOL stands at 100 with 100 SOL a level, 1 USD apart."""

    def __init__(self, config: EngineConfig | None = None, *, funds: str | int = 10_000) -> None:
        self.exchange = Exchange((SOL, BTC), config)
        self.now_ms = 1_750_000_000_000
        for user in (ALICE, BOB):
            self.exchange.fund(user, usd(funds), self.now_ms)
        self.quote(100)
        self.events()

    def tick(self, ms: int = 1_000) -> int:
        """Let time pass."""
        self.now_ms += ms
        return self.now_ms

    def quote(
        self,
        mid: str | int,
        *,
        mark: str | int | None = None,
        oracle: str | int | None = None,
        size: str | int = 100,
        continuous: bool = False,
        halted: bool = False,
        trades: tuple[TradePrint, ...] = (),
        coin: str = "SOL",
    ) -> None:
        """A book of ten levels, 1 USD apart, around ``mid``; mark and oracle follow unless given."""
        middle = Decimal(mid)
        self.exchange.apply(
            MarketUpdate(
                coin=coin,
                time_ms=self.tick(),
                bids=levels(*[(str(middle - i), size) for i in range(1, 11)], coin=coin),
                asks=levels(*[(str(middle + i), size) for i in range(1, 11)], coin=coin),
                mark=price(mid if mark is None else mark, coin),
                oracle=price(mid if oracle is None else oracle, coin),
                continuous=continuous,
                halted=halted,
                trades=trades,
            )
        )

    def apply(self, **fields: object) -> None:
        """Any update of SOL."""
        self.exchange.apply(MarketUpdate(coin="SOL", time_ms=self.tick(), **fields))  # type: ignore[arg-type]

    def print(self, at: str | int, size: str | int, *, buy: bool) -> None:
        """One trade of the outside market."""
        self.apply(trades=(TradePrint(price(at), lots(size), buy),))

    def order(
        self,
        side: str,
        size: str | int,
        limit: str | int,
        tif: Tif = Tif.GTC,
        *,
        reduce_only: bool = False,
        trigger: Trigger | None = None,
        cloid: str | None = None,
        coin: str = "SOL",
    ) -> NewOrder:
        """An order to ``buy`` or ``sell``."""
        return NewOrder(
            coin=coin,
            is_buy=side == "buy",
            limit_px=price(limit, coin),
            size=lots(size, coin),
            reduce_only=reduce_only,
            tif=tif,
            trigger=trigger,
            cloid=cloid,
        )

    def place(self, order: NewOrder | Reject, user: str = ALICE) -> PlaceResult:
        """Place one order."""
        return self.exchange.place(user, [order], Grouping.NA, self.tick())[0]

    def bracket(self, *orders: NewOrder | Reject, user: str = ALICE) -> list[PlaceResult]:
        """Place a parent with its legs."""
        return self.exchange.place(user, orders, Grouping.NORMAL_TPSL, self.tick())

    def buy(self, size: str | int, user: str = ALICE) -> PlaceResult:
        """Take what is offered, up to 10 % above mark."""
        return self.take("buy", size, user)

    def sell(self, size: str | int, user: str = ALICE) -> PlaceResult:
        """Hit what is bid, down to 10 % below mark."""
        return self.take("sell", size, user)

    def take(self, side: str, size: str | int, user: str) -> PlaceResult:
        """An IOC order within 10 % of mark."""
        mark = self.exchange.market("SOL").mark
        assert mark is not None
        limit = SOL.round_price(mark * (11 if side == "buy" else 9) // 10, up=side == "buy")
        return self.place(
            NewOrder(coin="SOL", is_buy=side == "buy", limit_px=limit, size=lots(size), tif=Tif.IOC), user
        )

    def size(self, user: str = ALICE, coin: str = "SOL") -> int:
        """Signed lots held."""
        return {p.coin: p.size for p in self.exchange.account_state(user).positions}.get(coin, 0)

    def events(self) -> list[Event]:
        """What happened since the last look."""
        return self.exchange.drain_events()

    def statuses(self, user: str = ALICE) -> list[tuple[int, str]]:
        """(oid, status) of the order updates since the last look."""
        return [(e.order.oid, e.status) for e in self.events() if isinstance(e, OrderUpdate) and e.user == user]

    def fills(self, user: str = ALICE) -> list[Fill]:
        """The fills since the last look."""
        return [e.fill for e in self.events() if isinstance(e, FillEvent) and e.user == user]
