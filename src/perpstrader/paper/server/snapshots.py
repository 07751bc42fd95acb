"""What a new subscriber gets at once, and who follows a whole state gets again with each change (API sheet 6.2)."""

from __future__ import annotations

from typing import Final

from perpstrader.paper.engine import usd_text
from perpstrader.paper.server import account_shapes as shapes
from perpstrader.paper.server import info_account, info_market, market_shapes
from perpstrader.paper.server.world import World
from perpstrader.venue.wire import ws
from perpstrader.venue.wire.limits import BOOK_LEVELS

FAST_LEVELS: Final = 5


class Snapshots:
    """Frames of a venue as it is now."""

    def __init__(self, world: World) -> None:
        self._world = world

    def frame(self, wanted: ws.Subscription) -> bytes | None:
        """The whole state of a stream, or ``None`` for one that begins with the next change."""
        return self._of_market(wanted) if wanted.user is None else self._of_user(wanted, wanted.user)

    def book(self, wanted: ws.Subscription) -> bytes:
        """The book of a coin, grouped as wanted; the fast form has five levels a side."""
        levels = FAST_LEVELS if wanted.fast else BOOK_LEVELS
        book = info_market.book(self._world, wanted.coin or "", wanted.n_sig_figs, wanted.mantissa, levels)
        return ws.L2_BOOK.frame(book)

    def ctx(self, coin: str, now_ms: int) -> bytes:
        """The live figures of a coin."""
        return ws.ACTIVE_ASSET_CTX.frame(ws.ActiveAssetCtx(coin, self._world.ctx(coin, now_ms)))

    def _of_market(self, wanted: ws.Subscription) -> bytes | None:
        world, coin = self._world, wanted.coin or ""
        match wanted.type:
            case "allMids":
                return ws.ALL_MIDS.frame(ws.AllMidsData(world.mids()))
            case "assetCtxs":
                return _frame(wanted, {"dex": "", "ctxs": world.ctxs()})
            case "allDexsAssetCtxs":
                return _frame(wanted, {"ctxs": [["", world.ctxs()]]})
            case "l2Book":
                return self.book(wanted)
            case "bbo":
                asset, rows = world.assets[coin], world.exchange.top(coin)
                best = [None if row is None else market_shapes.level(asset, row) for row in rows]
                return ws.BBO.frame(ws.Bbo(coin, world.now_ms(), (best[0], best[1])))
            case "trades":
                return ws.TRADES.frame([info_market.trade(world, row) for row in world.trades.newest(coin)])
            case "activeAssetCtx" if world.exchange.market(coin).mark is not None:
                return self.ctx(coin, world.now_ms())
            case _:
                return None

    def _of_user(self, wanted: ws.Subscription, user: str) -> bytes | None:
        world = self._world
        match wanted.type:
            case "openOrders":
                orders = shapes.frontend_orders(world.assets, world.exchange.open_orders(user))
                return ws.OPEN_ORDERS.frame(ws.OpenOrdersData("", user, orders))
            case "clearinghouseState":
                state = info_account.account_state(world, user)
                return ws.CLEARINGHOUSE_STATE.frame(ws.ClearinghouseData("", user, state))
            case "allDexsClearinghouseState":
                states = [["", info_account.account_state(world, user)]]
                return _frame(wanted, {"user": user, "clearinghouseStates": states})
            case "spotState":
                return _frame(wanted, {"user": user, "spotState": info_account.spot_state(world, user)})
            case "activeAssetData":
                coin = wanted.coin or ""
                view = world.exchange.asset_account(user, coin)
                return ws.ACTIVE_ASSET_DATA.frame(shapes.active_asset_data(world.assets[coin], view, user))
            case "twapStates":
                states = info_account.twap_states(world, user)
                return _frame(wanted, {"dex": "", "user": user, "states": states})
            case "webData2":
                return _frame(wanted, info_account.web_data(world, user))
            case "webData3":
                return _frame(wanted, self._web_data_3(user))
            case _:
                return self._of_history(wanted, user)

    def _of_history(self, wanted: ws.Subscription, user: str) -> bytes | None:
        """What a stream repeats of the past when it begins."""
        world, now_ms = self._world, self._world.now_ms()
        match wanted.type:
            case "userFills":
                rows = info_account.newest_fills(world, user, now_ms, aggregate=bool(wanted.aggregate_by_time))
                return ws.USER_FILLS.frame(ws.UserFills(user, rows, is_snapshot=True))
            case "userFundings":
                paid = [shapes.funding_event(world.assets[row.coin], row) for row in world.exchange.funding(user)]
                return ws.USER_FUNDINGS.frame(ws.UserFundings(user, paid, is_snapshot=True))
            case "userNonFundingLedgerUpdates":
                moved = [shapes.ledger_update(world.assets, row) for row in world.exchange.ledger(user)]
                return ws.USER_LEDGER.frame(ws.UserLedgerUpdates(user, moved, is_snapshot=True))
            case "userHistoricalOrders":
                history = [shapes.order_record(world.assets, row) for row in world.exchange.historical_orders(user)]
                return _history(wanted, user, "orderHistory", history)
            case "userTwapSliceFills":
                return _history(wanted, user, "twapSliceFills", info_account.newest_slice_fills(world, user, now_ms))
            case "userTwapHistory":
                return _history(wanted, user, "history", info_account.newest_twap_history(world, user, now_ms))
            case _:
                return None

    def _web_data_3(self, user: str) -> dict[str, object]:
        world, now_ms = self._world, self._world.now_ms()
        agent = world.agents.unnamed(user, now_ms)
        deposited = sum(row.usdc for row in world.exchange.ledger(user))
        state = {
            "agentAddress": None if agent is None else agent.address,
            "agentValidUntil": None if agent is None else agent.valid_until_ms, "cumLedger": usd_text(deposited),
            "serverTime": now_ms, "isVault": False, "user": user, "abstraction": world.mode(user),
        }  # fmt: skip
        dex = {"totalVaultEquity": "0.0", "perpsAtOpenInterestCap": list(world.exchange.at_open_interest_cap())}
        return {"userState": state, "perpDexStates": [dex]}


def _frame(wanted: ws.Subscription, data: object) -> bytes:
    return ws.encode({"channel": wanted.type, "data": data})


def _history(wanted: ws.Subscription, user: str, name: str, rows: object) -> bytes:
    return _frame(wanted, {"user": user, name: rows, "isSnapshot": True})
