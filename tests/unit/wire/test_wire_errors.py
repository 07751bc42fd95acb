"""The table of refusals: every text finds its code, every code its class, every status its family."""

from __future__ import annotations

import pytest

from perpstrader.venue.wire.errors import (
    TABLE,
    ErrorClass,
    ErrorCode,
    ErrorRow,
    Lifecycle,
    classify,
    error_class,
    error_text,
    lifecycle,
    reject_status,
)
from perpstrader.venue.wire.faults import said_by

NUMBERS: dict[str, object] = {
    "minimum": 10, "bid": "100.1", "ask": "100.2", "maximum": 5_000_000, "reason": "x", "minutes": 1, "used": 11,
    "cap": 10, "volume": "3.5", "nonce": 5, "address": "0x" + "12" * 20, "required": 1_000_000, "traded": "7.1",
}  # fmt: skip

SHARED_TEXT = {ErrorCode.OI_CAP_FLIP: ErrorCode.OI_CAP_INCREASE}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.code.value)
def test_S17_what_the_exchange_says_is_what_the_client_reads(row: ErrorRow) -> None:
    expected = SHARED_TEXT.get(row.code, row.code)
    for text in (error_text(row.code, **NUMBERS), error_text(row.code, 17, **NUMBERS)):
        assert classify(text) is expected
        assert classify(text.upper()) is expected
    assert error_text(row.code, 17, **NUMBERS).endswith(" asset=17")


@pytest.mark.parametrize(
    ("text", "code", "kind"),
    [
        ("Price must be divisible by tick size. asset=3", "tick", "permanent"),
        ("Order must have minimum value of $10. asset=4", "min_trade_ntl", "permanent"),
        ("Order must have minimum value of 10 USDC.", "min_trade_ntl", "permanent"),
        ("Insufficient margin to place order. asset=0", "perp_margin", "permanent"),
        ("Reduce only order would increase position. asset=0", "reduce_only", "flat_evidence"),
        ("Post only order would have immediately matched, bbo was 1@2. asset=1", "bad_alo_px", "transient"),
        ("Order could not immediately match against any resting orders. asset=1", "ioc_cancel", "transient"),
        ("Invalid TP/SL price. asset=1", "bad_trigger_px", "permanent"),
        ("No liquidity available for market order.", "market_order_no_liquidity", "transient"),
        ("Price too far from oracle asset=4", "oracle", "permanent"),
        ("Order price too far from oracle", "oracle", "permanent"),
        ("Order price cannot be more than 95% away from the reference price", "price_band", "permanent"),
        ("Order value too large. Max is $5000000.", "value_too_large", "permanent"),
        ("Order was never placed, already canceled, or filled. asset=0", "missing_order", "gone"),
        ("Cannot modify canceled or filled order", "modify_gone", "gone"),
        ("Only post-only orders allowed immediately after a network upgrade", "post_only_window", "halted"),
        ("Trading is halted. asset=5", "trading_halted", "halted"),
        (
            "Too many cumulative requests sent (12 > 10) for cumulative volume traded $1.5. Place taker orders",
            "too_many_requests",
            "rate_limited",
        ),
        ("Signed action over weight limit of 200.", "action_weight", "permanent"),
        ("Invalid nonce: duplicate nonce 17", "duplicate_nonce", "auth"),
        ("Invalid nonce: nonce too low 1 < 2", "nonce_too_low", "auth"),
        ("Unable to recover signer.", "bad_signature", "auth"),
        ("User or API Wallet 0x12 does not exist.", "unknown_signer", "auth"),
        ("L1 error: User or API Wallet 0x12 does not exist.", "unknown_signer", "auth"),
        ("Must deposit before performing actions. User: 0x12", "must_deposit", "auth"),
        ("Action already expired", "expired", "expired"),
        ("Cannot switch leverage type with open position.", "leverage_switch", "permanent"),
        ("Agent valid_until already expired.", "agent_expired", "auth"),
        ("Scheduled cancel time too early, must be at least 5 seconds from now.", "schedule_too_early", "permanent"),
        ("Something never seen", "unknown", "unknown"),
        ("", "unknown", "unknown"),
    ],
)
def test_S17_refusals_seen_at_the_venue_have_their_class(text: str, code: str, kind: str) -> None:
    assert classify(text).value == code
    assert error_class(classify(text)).value == kind


def test_S17_every_code_is_in_the_table_once_and_has_a_class() -> None:
    codes = [row.code for row in TABLE]
    assert len(codes) == len(set(codes))
    assert set(codes) == set(ErrorCode) - {ErrorCode.UNKNOWN}
    assert error_class(ErrorCode.UNKNOWN) is ErrorClass.UNKNOWN


@pytest.mark.parametrize(
    ("status", "family"),
    [
        ("open", "live"), ("triggered", "live"), ("filled", "filled"), ("canceled", "canceled"),
        ("rejected", "rejected"), ("marginCanceled", "canceled"), ("vaultWithdrawalCanceled", "canceled"),
        ("openInterestCapCanceled", "canceled"), ("selfTradeCanceled", "canceled"),
        ("reduceOnlyCanceled", "canceled"), ("siblingFilledCanceled", "canceled"), ("delistedCanceled", "canceled"),
        ("liquidatedCanceled", "canceled"), ("scheduledCancel", "canceled"), ("outcomeSettledCanceled", "canceled"),
        ("internalCancel", "canceled"), ("someNewCanceled", "canceled"), ("someNewRejected", "rejected"),
        ("tooManyOpenOrdersRejected", "rejected"), ("dreaming", "unknown"), ("", "unknown"),
    ],
)  # fmt: skip
def test_S17_every_order_status_has_its_family_by_name_or_by_suffix(status: str, family: str) -> None:
    assert lifecycle(status).value == family


def test_a_refused_order_has_a_status_that_reads_as_rejected() -> None:
    statuses = [status for row in TABLE if (status := reject_status(row.code)) is not None]
    assert len(statuses) == 16
    assert all(lifecycle(status) is Lifecycle.REJECTED for status in statuses)
    assert reject_status(ErrorCode.UNKNOWN) is None


def test_a_text_whose_number_is_missing_is_not_sent() -> None:
    with pytest.raises(KeyError, match="ask"):
        error_text(ErrorCode.BAD_ALO_PX, bid="1")


def test_a_proxys_page_is_said_in_words_and_never_shown_as_markup() -> None:
    page = b"<!DOCTYPE html>\n<html><head><title>502 <b>Bad</b>\n Gateway</title></head><body>" + b"x" * 9000
    assert said_by(page) == "a web page in place of an answer (502 Bad Gateway)"
    assert said_by(b"<html></html>") == "a web page in place of an answer"
    assert said_by(b" \n ") == "an empty body"
    assert said_by(b"try\x00 later") == "try later"
    assert said_by(b"y" * 200) == "y" * 120 + "…"
