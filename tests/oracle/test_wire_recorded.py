"""The typed answers against what the venue really answered, from 2023 to 2026."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from perpstrader.venue.wire import account, info, market, ws
from perpstrader.venue.wire.numbers import parse_decimal

NOT_TYPED = {"portfolio", "userTwapSliceFills", "userVaultEquities"}
DROPPED = {
    "maxTradeSzs", "growthMode", "lastGrowthModeChangeTime", "deployerTradingFeeShare", "evmContract", "fullName",
}  # fmt: skip
NUMERIC = {
    "px", "sz", "limitPx", "szi", "fee", "usdc", "fundingRate", "markPx", "oraclePx", "entryPx", "closedPnl", "premium",
    "accountValue", "liquidationPx", "returnOnEquity", "unrealizedPnl", "marginUsed", "openInterest", "dayNtlVlm",
}  # fmt: skip


def _interactions(folder: Path) -> list[tuple[str, str, bytes]]:
    """``(file, request body, answer body)`` of every recorded call."""
    rows = []
    for file in sorted(folder.glob("*.yaml")):
        for interaction in yaml.safe_load(file.read_text())["interactions"]:
            answer = interaction["response"]["body"]["string"]
            raw = answer if isinstance(answer, bytes) else answer.encode()
            body = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
            rows.append((file.name, interaction["request"]["body"], body))
    return rows


def assert_kept(recorded: Any, ours: Any, where: str = "") -> None:
    """Every recorded value is in ours under the same key, apart from the fields that are dropped on purpose."""
    if isinstance(recorded, dict):
        for key, value in recorded.items():
            if key in DROPPED or (value is None and key not in ours):
                continue
            assert key in ours, f"{where}.{key} was lost"
            if key in NUMERIC and isinstance(value, str):
                parse_decimal(value, key)
            assert_kept(value, ours[key], f"{where}.{key}")
    elif isinstance(recorded, list):
        assert len(recorded) == len(ours)
        for number, (left, right) in enumerate(zip(recorded, ours, strict=True)):
            assert_kept(left, right, f"{where}[{number}]")
    else:
        assert recorded == ours, where


def _kept(call: info.InfoCall[Any], body: bytes) -> Any:
    answer = call.decode(body)
    assert_kept(json.loads(body), json.loads(info.encode(answer)), call.kind)
    return answer


def test_every_recorded_call_of_the_official_sdk_is_read_without_loss(test_data: Path) -> None:
    kinds = set()
    for file, request_body, body in _interactions(test_data / "hl_sdk_vcr_cassettes"):
        request = info.decode_request(request_body)
        if request.type in NOT_TYPED:
            continue
        assert _kept(info.CALLS[request.type], body) is not None, file
        kinds.add(request.type)
    assert len(kinds) >= 15


def test_the_full_metadata_is_read_without_loss(test_data: Path) -> None:
    folder = test_data / "hl_meta_funding_2026-03"
    meta, contexts = _kept(info.META_AND_ASSET_CTXS, (folder / "metaAndAssetCtxs_2026-03.json").read_bytes())
    assert len(meta.universe) == len(contexts) == 229
    assert sum(asset.is_delisted is True for asset in meta.universe) == 39
    assert meta.universe[0] == market.AssetInfo("BTC", 5, 40, 56)
    tables = dict(meta.margin_tables)
    assert [tier.max_leverage for tier in tables[56].margin_tiers] == [40, 20]
    for file in folder.glob("hyperliquid_funding_*.json"):
        assert len(_kept(info.FUNDING_HISTORY, file.read_bytes())) > 100


def test_the_account_and_books_of_2026_are_read_without_loss(test_data: Path) -> None:
    folder = test_data / "hl_account_and_book_samples_2026-06"
    state = _kept(info.CLEARINGHOUSE_STATE, (folder / "clearinghouse_small.json").read_bytes())
    assert len(state.asset_positions) == 3
    for file in folder.glob("l2book_*.json"):
        book = _kept(info.L2_BOOK, file.read_bytes())
        bids, asks = book.levels
        assert parse_decimal(bids[0].px) < parse_decimal(asks[0].px)
        assert max(len(bids), len(asks)) <= 20
    assert _kept(info.PERP_DEXS, (folder / "perpdexs.json").read_bytes())[0] is None


@pytest.mark.parametrize(
    ("file", "call"),
    [
        ("http_clearinghouse_state_negative_total_raw_usd", info.CLEARINGHOUSE_STATE),
        ("http_funding_history", info.FUNDING_HISTORY),
        ("http_l2_book_btc", info.L2_BOOK),
        ("http_l2_book_snapshot", info.L2_BOOK),
        ("http_meta_perp_sample", info.META),
        ("http_recent_trades_btc", info.RECENT_TRADES),
        ("http_spot_clearinghouse_state", info.SPOT_CLEARINGHOUSE_STATE),
        ("http_user_fills_dust_conversion", info.USER_FILLS),
        ("http_spot_meta_non_usdc_collateral", info.SPOT_META),
        ("ws_book_data", info.L2_BOOK),
    ],
)
def test_the_samples_of_another_client_are_read_without_loss(
    test_data: Path, file: str, call: info.InfoCall[Any]
) -> None:
    assert _kept(call, (test_data / "hl_nautilus_api_samples" / f"{file}.json").read_bytes()) is not None


def test_recorded_frames_are_read(test_data: Path) -> None:
    folder = test_data / "hl_nautilus_api_samples"
    mids = ws.decode_frame((folder / "ws_allmids.json").read_bytes())
    assert mids is not None
    assert ws.ALL_MIDS.decode(mids).mids["BTC"] == "80868.5"
    event = ws.decode_frame((folder / "ws_user_fill_liquidation.json").read_bytes())
    assert event is not None
    fills = ws.USER_EVENTS.decode(event).fills
    assert fills is not None
    assert isinstance(fills[0].liquidation, account.Liquidation)
    assert fills[0].liquidation.method == "market"
    contexts = json.loads((folder / "ws_all_dexs_asset_ctxs.json").read_bytes())["data"]["ctxs"]
    rows = [row for _, group in contexts for row in group]
    for row in rows:
        body = json.dumps({"channel": "activeAssetCtx", "data": {"coin": "X", "ctx": row}})
        frame = ws.decode_frame(body)
        assert frame is not None
        assert_kept(row, json.loads(info.encode(ws.ACTIVE_ASSET_CTX.decode(frame).ctx)))
    assert len(rows) == 412


def test_the_live_selections_of_july_2026_are_read(test_data: Path) -> None:
    folder = test_data / "hl_math_live_fixtures_2026-07-19"
    first, second, third = (json.loads(file.read_text()) for file in sorted(folder.glob("*.json")))
    _kept(info.L2_BOOK, json.dumps(first["l2Book"]).encode())
    funding = second["selection"]["funding"]
    _kept(info.USER_FUNDING, json.dumps([{"hash": "0x", **row} for row in funding]).encode())
    _kept(info.FUNDING_HISTORY, json.dumps(second["selection"]["btcFundingHistory"]).encode())
    example = third["officialSchemaExamples"]["clearinghouseStateIsolatedPosition"]
    isolated = {
        "assetPositions": [{"type": "oneWay", "position": example["position"]}],
        "time": 1,
        **example["accountSummaries"],
    }
    state = _kept(info.CLEARINGHOUSE_STATE, json.dumps(isolated).encode())
    position = state.asset_positions[0].position
    assert position.leverage == account.LeverageWire("isolated", 20, "-95.059824")
    held = [{"type": "oneWay", "position": row} for row in third["selection"]["positions"]]
    summary = third["selection"]["marginSummary"]
    live = {"assetPositions": held, "crossMarginSummary": summary, "marginSummary": summary, "withdrawable": "1"}
    assert len(_kept(info.CLEARINGHOUSE_STATE, json.dumps(live).encode()).asset_positions) == 3
