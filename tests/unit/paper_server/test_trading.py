"""A client trades on the paper exchange: what it sends, what it is answered, and what it hears."""

from __future__ import annotations

import itertools

from tests.unit.paper_server.desk import USER, Desk, at_the_desk

from perpstrader.venue.wire import actions


def test_a_market_buy_fills_and_every_stream_and_read_tells_of_it() -> None:
    async def story(desk: Desk) -> None:
        await desk.listen(
            {"type": "orderUpdates", "user": USER},
            {"type": "userFills", "user": USER.upper().replace("0X", "0x")},
            {"type": "userEvents", "user": USER},
            {"type": "clearinghouseState", "user": USER},
        )
        status = await desk.order("buy", str(round(await desk.mid() * 1.05)), "0.01", "Ioc")
        oid = status["filled"]["oid"]
        assert status["filled"]["totalSz"] == "0.01"
        assert [row["status"] for row in desk.on("orderUpdates")[-1]] == ["open", "filled"]
        snapshot, fills = desk.on("userFills")
        assert snapshot["isSnapshot"] is True
        assert snapshot["fills"] == []
        assert fills["fills"][0]["oid"] == oid
        assert "isSnapshot" not in fills
        assert desk.on("user")[-1]["fills"][0]["tid"] == fills["fills"][0]["tid"]
        state = await desk.info("clearinghouseState", user=USER)
        assert state["assetPositions"][0]["position"]["szi"] == "0.01"
        shown = desk.on("clearinghouseState")[-1]["clearinghouseState"]
        assert shown["assetPositions"][0]["position"]["szi"] == "0.01"
        record = await desk.info("orderStatus", user=USER, oid=oid)
        assert record["order"]["status"] == "filled"
        assert (await desk.info("userFills", user=USER))[0]["dir"] == "Open Long"

    at_the_desk(story)


def test_bars_best_prices_and_figures_are_on_the_streams() -> None:
    async def story(desk: Desk) -> None:
        await desk.listen(
            {"type": "candle", "coin": "BTC", "interval": "1s"},
            {"type": "candle", "coin": "BTC", "interval": "5s"},
            {"type": "bbo", "coin": "BTC"},
            {"type": "activeAssetCtx", "coin": "BTC"},
            {"type": "allMids"},
        )
        await desk.clock.sleep(11)
        bars = [bar for bar in desk.on("candle") if bar["i"] == "1s"]
        assert len(bars) == 11
        assert all(after["t"] - before["t"] == 1_000 for before, after in itertools.pairwise(bars))
        fives = [bar for bar in desk.on("candle") if bar["i"] == "5s"]
        whole = [bar for bar in fives if bar["t"] == fives[-1]["t"] - 5_000][-1]
        parts = [bar for bar in bars if whole["t"] <= bar["t"] <= whole["T"]]
        assert whole["h"] == max((bar["h"] for bar in parts), key=float)
        assert (whole["o"], whole["c"]) == (parts[0]["o"], parts[-1]["c"])
        assert len(desk.on("bbo")) > 5
        ctx = desk.on("activeAssetCtx")[-1]["ctx"]
        assert float(ctx["dayBaseVlm"]) > 0
        assert float(ctx["markPx"]) > 0
        assert set(desk.on("allMids")[-1]["mids"]) == {"BTC", "ETH"}
        history = await desk.info("candleSnapshot", req={"coin": "BTC", "interval": "1s", "startTime": 0})
        assert history[-1] == bars[-1]
        assert len(history) >= 300

    at_the_desk(story)


def test_an_order_rests_is_modified_and_cancelled() -> None:
    async def story(desk: Desk) -> None:
        price = str(round(await desk.mid() * 0.9))
        cloid = "0x" + "ab" * 16
        resting = await desk.order("buy", price, "0.01", cloid=cloid)
        assert resting["resting"]["cloid"] == cloid
        lower = str(round(await desk.mid() * 0.89))
        gtc = actions.OrderWire(0, True, lower, "0.02", False, actions.GTC, cloid)
        modified = await desk.act(actions.BatchModify([actions.ModifyWire(cloid, gtc)]))
        oid = modified["response"]["data"]["statuses"][0]["resting"]["oid"]
        assert oid != resting["resting"]["oid"]
        shown = await desk.info("frontendOpenOrders", user=USER)
        assert [(row["oid"], row["sz"]) for row in shown] == [(oid, "0.02")]
        cancel = actions.CancelByCloid([actions.CancelByCloidWire(0, cloid)])
        assert (await desk.act(cancel))["response"]["data"]["statuses"] == ["success"]
        again = (await desk.act(cancel))["response"]["data"]["statuses"]
        assert again == [{"error": "Order was never placed, already canceled, or filled. asset=0"}]
        assert await desk.info("openOrders", user=USER) == []

    at_the_desk(story)
