"""Candle files: what is found, that numbers arrive exactly, and one clear sentence for each fault."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpstrader.paper.feeds import FeedError, load_candles, open_replay
from perpstrader.paper.feeds.candles import find_candles
from perpstrader.paper.feeds.facts import asset_for, size_decimals_for
from perpstrader.paper.feeds.tables import times_ms, to_units

HEADER = "date,open,high,low,close,volume"
BEGIN = datetime(2025, 3, 14, 10, 0, tzinfo=UTC)
GOOD = [[82765.0, 82817.0, 82697.0, 82699.0, 24.16464], [82700.0, 82769.0, 82692.0, 82693.0, 16.11897]]


def _csv(folder: Path, rows: list[list[Any]], name: str = "BTC-5m.csv", header: str = HEADER) -> Path:
    lines = [header]
    for number, row in enumerate(rows):
        time = row[0] if isinstance(row[0], str) else (BEGIN + timedelta(minutes=5 * number)).isoformat()
        lines.append(",".join([time, *(str(cell) for cell in row[1 if isinstance(row[0], str) else 0 :])]))
    file = folder / name
    text = "\n".join(lines) + "\n"
    if name.endswith(".gz"):
        file.write_bytes(gzip.compress(text.encode()))
    else:
        file.write_text(text)
    return file


def test_the_same_candles_come_out_of_every_format(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import feather, parquet

    table = pa.table(
        {
            "date": pa.array([BEGIN, BEGIN + timedelta(minutes=5)], pa.timestamp("ns", tz="UTC")),
            **{name: [row[n] for row in GOOD] for n, name in enumerate(("open", "high", "low", "close", "volume"))},
        }
    )
    files = [_csv(tmp_path, GOOD, "btc-perp-20250314_5m.csv"), _csv(tmp_path, GOOD, "BTC_USDC-5m.csv.gz")]
    feather.write_feather(table, tmp_path / "BTC_USDC_USDC-5m-futures.feather")
    parquet.write_table(table, tmp_path / "BTC-5m.parquet")
    files += [tmp_path / "BTC_USDC_USDC-5m-futures.feather", tmp_path / "BTC-5m.parquet"]
    bars = []
    for file in files:
        (series,) = load_candles(file, "5m")
        assert series.asset.coin == "BTC"
        bars.append([series.bar(0), series.bar(1)])
    assert bars.count(bars[0]) == 4
    first = bars[0][0]
    assert (first.open, first.high, first.low, first.close, first.volume) == (827650, 828170, 826970, 826990, 2416464)
    assert first.open_ms == int(BEGIN.timestamp() * 1_000)
    assert first.close_ms == first.open_ms + 299_999


@given(
    st.lists(
        st.one_of(
            st.floats(0, 10**9, allow_nan=False),
            st.builds(lambda n, d: n / 10**d, st.integers(0, 10**15), st.integers(0, 6)),
        ),
        max_size=20,
    ),
    st.integers(0, 6),
)
def test_floats_become_integers_as_their_decimal_text_would(values: list[float], decimals: int) -> None:
    for floor, rounding in ((False, ROUND_HALF_EVEN), (True, ROUND_FLOOR)):
        exact = [int((Decimal(repr(v)) * 10**decimals).to_integral_value(rounding)) for v in values]
        assert to_units(values, decimals, floor=floor) == exact


def test_prices_that_the_venue_cannot_quote_are_rounded_to_its_ticks(tmp_path: Path) -> None:
    (series,) = load_candles(_csv(tmp_path, [[16537.5, 16538.4, 16523.2, 16529.2, 844.251]]), "5m")
    assert (series.opens, series.highs, series.lows, series.closes) == ([165380], [165380], [165230], [165290])


def test_volume_in_quote_currency_is_turned_into_coins(tmp_path: Path) -> None:
    file = _csv(tmp_path, [[50_000.0, 50_000.0, 50_000.0, 50_000.0, 125_000.0]])
    assert load_candles(file, "5m", volume="quote")[0].volumes == [250_000]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], r"BTC-5m.csv is empty"),
        ([GOOD[0], ["nan", 1.0, 1.0, 1.0, 1.0, 1.0]], r"row 2 has 'nan' where a time belongs"),
        ([GOOD[0], [82700.0, "inf", 1.0, 1.0, 1.0]], r"row 2 has high inf, which is not finite"),
        ([[82700.0, "abc", 1.0, 1.0, 1.0]], r"row 1 has high 'abc', which is no number"),
        ([[100.0, 90.0, 95.0, 92.0, 1.0]], r"row 1 \(2025-03-14T10:00:00Z\) has high 90.0 below low 95.0"),
        ([GOOD[0], [0.0, 90.0, 0.0, 92.0, 1.0]], r"row 2 .* has a price of 0.0; a price must be above 0"),
        ([[100.0, 110.0, 95.0, 94.0, 1.0]], r"open 100.0 or close 94.0 outside low 95.0 to high 110.0"),
        ([[100.0, 110.0, 95.0, 96.0, -1.0]], r"has volume -1.0; it must be 0 or more"),
        ([["2025-03-14T10:05Z", *GOOD[0]], ["2025-03-14T10:00Z", *GOOD[1]]], r"row 1 .* is later than the next"),
        ([["2025-03-14T10:05Z", *GOOD[0]], ["2025-03-14T10:05Z", *GOOD[1]]], r"row 1 and the next have the same time"),
        ([["2025-03-14T10:05Z", *GOOD[0]], ["2025-03-14T10:06Z", *GOOD[1]]], r"row 2 begins .* between two bars of 5m"),
    ],
)
def test_a_malformed_candle_file_is_refused_in_a_sentence(tmp_path: Path, rows: list[list[Any]], sentence: str) -> None:
    _csv(tmp_path, rows)
    with pytest.raises(FeedError, match=sentence) as caught:
        load_candles(tmp_path, "5m")
    assert "\n" not in str(caught.value)


def test_files_that_are_no_tables_are_refused_in_a_sentence(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    for name in ("BTC-5m.feather", "BTC-5m.parquet", "BTC-5m.csv.gz"):
        (tmp_path / name).write_bytes(b"this is no table at all")
        with pytest.raises(FeedError, match=f"{name} cannot be read as") as caught:
            load_candles(tmp_path / name, "5m")
        assert "\n" not in str(caught.value)
    missing = _csv(tmp_path, [], "ETH-5m.csv", header="date,open,high,low,close")
    with pytest.raises(FeedError, match="has no column 'volume'; it has date, open, high, low, close"):
        load_candles(missing, "5m")
    ragged = tmp_path / "SOL-5m.csv"
    ragged.write_text(f"{HEADER}\n2025-03-14T10:00Z,1,2,3\n")
    with pytest.raises(FeedError, match="row 1 has 4 cells, the header has 6"):
        load_candles(ragged, "5m")


def test_what_is_not_there_is_said_with_what_is(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="there is no file or folder"):
        load_candles(tmp_path / "nowhere", "5m")
    with pytest.raises(FeedError, match=r"no candles in .* expected names like"):
        load_candles(tmp_path, "5m")
    _csv(tmp_path, GOOD)
    with pytest.raises(FeedError, match=r"no 1h candles in .*; found 5m"):
        load_candles(tmp_path, "1h")
    with pytest.raises(FeedError, match=r"no 5m candles of ETH in .*; found BTC"):
        load_candles(tmp_path, "5m", symbols=("BTC", "ETH"))
    with pytest.raises(FeedError, match="interval '7m' is not known; allowed are 250ms"):
        load_candles(tmp_path, "7m")
    _csv(tmp_path, GOOD, "BTC_5m.csv")
    with pytest.raises(FeedError, match=r"both BTC-5m.csv and BTC_5m.csv hold 5m candles of BTC; keep one"):
        find_candles(tmp_path)


def test_times_are_told_apart_by_their_size_and_texts_are_utc() -> None:
    ms = int(BEGIN.timestamp() * 1_000)
    cells = [
        ms // 1_000,
        ms,
        ms * 1_000,
        ms * 1_000_000,
        str(ms),
        "2025-03-14 10:00:00.000000",
        "2025-03-14T12:00+02:00",
    ]
    assert times_ms(Path("x"), cells) == [ms] * len(cells)


def test_an_unknown_coin_takes_its_facts_from_its_price() -> None:
    assert [size_decimals_for(p) for p in (0.0001, 0.5, 1.0, 12.0, 640.0, 3_400.0, 98_000.0, 10**7)] == [
        0, 0, 1, 2, 3, 4, 5, 5,
    ]  # fmt: skip
    assert (asset_for("NEWCOIN", 3, 12.0).size_decimals, asset_for("NEWCOIN", 3, 12.0).max_leverage) == (2, 3)
    assert (asset_for("BTC", 0, 1.0).size_decimals, asset_for("BTC", 0, 1.0).max_leverage) == (5, 40)


def test_the_facts_of_known_coins_are_those_of_the_recorded_metadata(test_data: Path) -> None:
    import json

    from perpstrader.paper.feeds.facts import _FACTS

    meta = json.loads((test_data / "hl_meta_funding_2026-03" / "metaAndAssetCtxs_2026-03.json").read_text())[0]
    universe = {asset["name"]: asset for asset in meta["universe"]}
    tables = {number: table["marginTiers"] for number, table in meta["marginTables"]}
    for coin in _FACTS:
        ours, theirs = asset_for(coin, 0, 1.0), universe[coin]
        assert (ours.size_decimals, ours.max_leverage) == (theirs["szDecimals"], theirs["maxLeverage"]), coin
        tiers = tables.get(theirs["marginTableId"], [{"lowerBound": "0.0", "maxLeverage": theirs["maxLeverage"]}])
        assert [(tier.lower_bound, tier.max_leverage) for tier in ours.margin_tiers] == [
            (int(Decimal(tier["lowerBound"]) * 10**6), tier["maxLeverage"]) for tier in tiers
        ], coin


def test_open_replay_reads_candles_where_there_is_no_live_recording(tmp_path: Path) -> None:
    _csv(tmp_path, GOOD)
    assert open_replay(tmp_path, "5m").grade == "candle"
