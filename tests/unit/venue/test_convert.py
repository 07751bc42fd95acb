"""From the wire to the domain: signs and amounts of money, families of orders, and what the package offers."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from tests.unit.venue import frames
from tests.unit.venue.scripted import ACCOUNT

from perpstrader.domain import VenueError
from perpstrader.venue import convert
from perpstrader.venue.contract import OrderGroup
from perpstrader.venue.wire import account, market

OTHER = "0x" + "cd" * 20

ME = "0x" + "ab" * 20


def flow(**delta: Any) -> Decimal | None:
    update = msgspec.convert(frames.ledger(**delta), account.LedgerUpdate)
    booked = convert.cash_flow(update, ACCOUNT)
    return None if booked is None else booked.usd


SENT = {"type": "send", "token": "USDC", "amount": "50.0", "usdcValue": "50.0", "fee": "1.0"}
FLOWS: list[tuple[str, dict[str, Any], str | None]] = [
    ("deposit", {"type": "deposit", "usdc": "100.0"}, "100"),
    ("withdrawal with its fee", {"type": "withdraw", "usdc": "100.0", "fee": "1.0", "nonce": 1}, "-101"),
    ("from spot", {"type": "accountClassTransfer", "usdc": "7.5", "toPerp": True}, "7.5"),
    ("to spot", {"type": "accountClassTransfer", "usdc": "7.5", "toPerp": False}, "-7.5"),
    ("received", {"type": "internalTransfer", "usdc": "9.0", "user": OTHER, "destination": ACCOUNT.upper()}, "9"),
    ("paid", {"type": "internalTransfer", "usdc": "9.0", "user": ACCOUNT, "destination": OTHER, "fee": "0.0"}, "-9"),
    ("to a sub-account", {"type": "subAccountTransfer", "usdc": "5.0", "user": ACCOUNT, "destination": OTHER}, "-5"),
    ("into a vault", {"type": "vaultDeposit", "usdc": "5.0", "vault": OTHER}, "-5"),
    ("out of a vault", {"type": "vaultWithdraw", "requestedUsd": "9.0", "netWithdrawnUsd": "8.5"}, "8.5"),
    ("sent away", {**SENT, "user": ACCOUNT, "destination": OTHER, "sourceDex": "", "destinationDex": ""}, "-51"),
    ("sent here", {**SENT, "user": OTHER, "destination": ACCOUNT, "sourceDex": "", "destinationDex": ""}, "50"),
    (
        "to own spot",
        {**SENT, "user": ACCOUNT, "destination": ACCOUNT, "sourceDex": "", "destinationDex": "spot"},
        "-51",
    ),
    (
        "from own spot",
        {**SENT, "user": ACCOUNT, "destination": ACCOUNT, "sourceDex": "spot", "destinationDex": ""},
        "50",
    ),
    (
        "spot to spot",
        {**SENT, "user": ACCOUNT, "destination": OTHER, "sourceDex": "spot", "destinationDex": "spot"},
        None,
    ),
    ("a liquidation's note", {"type": "liquidation", "accountValue": "0.0"}, None),
    ("spot", {"type": "spotTransfer", "token": "PURR", "amount": "1.0"}, None),
]


@pytest.mark.parametrize(("delta", "usd"), [row[1:] for row in FLOWS], ids=[row[0] for row in FLOWS])
def test_S39_a_ledger_row_is_booked_with_its_sign(delta: dict[str, Any], usd: str | None) -> None:
    assert flow(**delta) == (None if usd is None else Decimal(usd))


@pytest.mark.parametrize("delta", [{"type": "moon", "usdc": "1.0"}, {"type": "deposit"}, {"type": "vaultWithdraw"}, {}])
def test_S39_a_row_that_cannot_be_signed_is_not_guessed(delta: dict[str, Any]) -> None:
    with pytest.raises(VenueError, match="booked"):
        flow(**delta)


def test_two_rows_of_one_instant_have_keys_of_their_own() -> None:
    rows = [frames.ledger(type="deposit", usdc=usd) for usd in ("1.0", "2.0")]
    flows = [convert.cash_flow(msgspec.convert(row, account.LedgerUpdate), ACCOUNT) for row in rows]
    assert len({booked.key for booked in flows if booked is not None}) == 2


@pytest.mark.parametrize(
    ("status", "group"),
    [
        ("open", OrderGroup.LIVE),
        ("triggered", OrderGroup.LIVE),
        ("filled", OrderGroup.FILLED),
        ("canceled", OrderGroup.CANCELED),
        ("siblingFilledCanceled", OrderGroup.CANCELED),
        ("scheduledCancel", OrderGroup.CANCELED),
        ("perpMarginRejected", OrderGroup.REJECTED),
        ("aKindThatIsNewRejected", OrderGroup.REJECTED),
        ("aKindThatIsNewCanceled", OrderGroup.CANCELED),
        ("somethingElse", OrderGroup.LIVE),
    ],
)
def test_an_order_update_has_the_family_of_its_status(status: str, group: OrderGroup) -> None:
    record = convert.order_update(msgspec.convert(frames.order_update(status), account.OrderUpdate))
    assert (record.group, record.status) == (group, status)
    assert record.order is not None
    assert (record.order.oid, record.order.size) == (77, Decimal("0.01"))


def test_a_forced_fill_is_told_by_its_object_and_not_by_its_direction() -> None:
    forced = {**frames.fill(), "liquidation": {"markPx": "64000.0", "method": "market"}}
    assert convert.fill(msgspec.convert(forced, account.FillWire), ME).liquidation
    assert not convert.fill(msgspec.convert(frames.fill(), account.FillWire), ME).liquidation


def test_who_only_took_the_other_side_of_a_liquidation_was_not_liquidated() -> None:
    for user, ours in ((ME.upper().replace("0X", "0x"), True), ("0x" + "2" * 40, False)):
        forced = {**frames.fill(), "liquidation": {"markPx": "64000.0", "method": "market", "liquidatedUser": user}}
        assert convert.fill(msgspec.convert(forced, account.FillWire), ME).liquidation is ours


def test_delisted_assets_keep_their_index_and_the_others_theirs() -> None:
    universe = [
        {"name": "BTC", "szDecimals": 5, "maxLeverage": 40},
        {"name": "OLD", "szDecimals": 1, "maxLeverage": 3, "isDelisted": True},
        {"name": "ETH", "szDecimals": 4, "maxLeverage": 25},
    ]
    assets = convert.assets(msgspec.convert({"universe": universe}, market.Meta))
    assert {name: (spec.index, spec.is_delisted) for name, spec in assets.items()} == {
        "BTC": (0, False),
        "OLD": (1, True),
        "ETH": (2, False),
    }


def test_the_package_offers_its_names_and_the_wire_brings_no_client_with_it() -> None:
    program = (
        "import sys\n"
        "import perpstrader.venue.wire.ws\n"
        "assert 'perpstrader.venue.client' not in sys.modules, 'the wire imported the client'\n"
        "import perpstrader.venue as venue\n"
        "from perpstrader.venue import HyperliquidClient, Signer\n"
        "assert all(getattr(venue, name) for name in venue.__all__)\n"
        "assert not hasattr(venue, 'Nothing')\n"
        "assert 'hyperliquid' not in sys.modules, 'the SDK was imported'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
