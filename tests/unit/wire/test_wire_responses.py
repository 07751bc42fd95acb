"""Answers to actions: every order gets its own outcome, and what is not understood is never taken for a yes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perpstrader.venue.wire import WireError, responses
from perpstrader.venue.wire.errors import ErrorClass, ErrorCode
from perpstrader.venue.wire.info import encode
from perpstrader.venue.wire.responses import FilledWire, Refused, RestingWire, StatusWire, Success, Waiting

MIN_VALUE = "Order must have minimum value of $10. asset=4"


def _answer(kind: str, statuses: list[Any]) -> responses.ExchangeAnswer:
    body = {"status": "ok", "response": {"type": kind, "data": {"statuses": statuses}}}
    return responses.decode_answer(json.dumps(body))


def test_each_order_gets_its_own_outcome_in_its_order() -> None:
    answer = _answer(
        "order",
        [
            {"resting": {"oid": 77738308, "cloid": "0x01"}},
            {"filled": {"totalSz": "0.02", "avgPx": "1891.4", "oid": 77747314, "newField": 1}},
            {"error": MIN_VALUE},
            "waitingForFill",
            "waitingForTrigger",
        ],
    )
    assert responses.order_outcomes(answer, 5) == (
        RestingWire(77738308, "0x01"),
        FilledWire("0.02", "1891.4", 77747314),
        Refused(ErrorCode.MIN_TRADE_NTL, MIN_VALUE),
        Waiting("waitingForFill"),
        Waiting("waitingForTrigger"),
    )


def test_one_error_for_several_orders_applies_to_all_of_them() -> None:
    refused = Refused(ErrorCode.TICK, "Price must be divisible by tick size.")
    answer = _answer("order", [{"error": refused.text}])
    assert responses.order_outcomes(answer, 3) == (refused,) * 3
    assert responses.cancel_outcomes(_answer("cancel", [{"error": refused.text}]), 2) == (refused,) * 2


def test_a_refused_action_refuses_all_its_orders() -> None:
    answer = responses.decode_answer(b'{"status":"err","response":"Action already expired"}')
    outcomes = responses.order_outcomes(answer, 2)
    assert outcomes == (Refused(ErrorCode.EXPIRED, "Action already expired"),) * 2
    assert answer.refused is not None
    assert answer.refused.kind is ErrorClass.EXPIRED
    assert responses.done_or_refused(answer) == answer.refused


@pytest.mark.parametrize(
    "statuses", [[{"resting": {"oid": 1}}], [], [{"error": "a"}, {"error": "b"}], ["success"], [{}, {}, {}]]
)
def test_S11_statuses_that_cannot_be_told_apart_settle_nothing(statuses: list[Any]) -> None:
    with pytest.raises(WireError):
        responses.order_outcomes(_answer("order", statuses), 3)


def test_S11_a_default_answer_to_orders_settles_nothing() -> None:
    answer = responses.decode_answer(b'{"status":"ok","response":{"type":"default"}}')
    assert responses.done_or_refused(answer) is None
    with pytest.raises(WireError, match="no statuses"):
        responses.order_outcomes(answer, 1)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"<html>502 Bad Gateway</html>", b"{}", b'{"status":"ok"}', b'{"status":"ok","response":"text"}',
        b'{"status":"maybe","response":"text"}', b'{"status":"err","response":{"type":"order"}}',
        b'{"status":"ok","response":{"type":"order","data":{"statuses":[{"resting":{"oid":"x"}}]}}}', b"\xff\xfe",
    ],
)  # fmt: skip
def test_S11_a_body_that_is_no_answer_is_an_error_and_not_a_refusal(body: bytes) -> None:
    with pytest.raises(WireError):
        responses.decode_answer(body)


def test_cancels_are_done_gone_or_refused_one_by_one() -> None:
    gone = "Order was never placed, already canceled, or filled. asset=0"
    outcomes = responses.cancel_outcomes(_answer("cancel", ["success", {"error": gone}]), 2)
    assert outcomes == (Success(), Refused(ErrorCode.MISSING_ORDER, gone))
    with pytest.raises(WireError):
        responses.cancel_outcomes(_answer("cancel", ["perhaps"]), 1)


def test_a_modify_that_was_refused_with_an_order_body_is_a_refusal() -> None:
    text = "Attempted to modify to invalid new order"
    body = {"status": "err", "response": {"type": "order", "data": {"statuses": [{"error": text}]}}}
    answer = responses.decode_answer(json.dumps(body))
    assert responses.done_or_refused(answer) == Refused(ErrorCode.INVALID_MODIFY, text)


def test_a_refused_twap_is_not_taken_for_done() -> None:
    text = "Invalid TWAP duration: 1 min(s)"
    body = {"status": "ok", "response": {"type": "twapOrder", "data": {"status": {"error": text}}}}
    assert responses.done_or_refused(responses.decode_answer(json.dumps(body))) == responses.refusal(text)
    body["response"]["data"] = {"status": {"running": {"twapId": 5}}}  # type: ignore[index]
    assert responses.done_or_refused(responses.decode_answer(json.dumps(body))) is None


def test_what_the_exchange_builds_is_what_the_client_reads() -> None:
    statuses = [StatusWire(resting=RestingWire(1)), StatusWire(error=MIN_VALUE), "waitingForTrigger"]
    body = encode(responses.ok("order", statuses))
    assert json.loads(body) == {
        "status": "ok",
        "response": {
            "type": "order",
            "data": {"statuses": [{"resting": {"oid": 1}}, {"error": MIN_VALUE}, "waitingForTrigger"]},
        },
    }
    outcomes = responses.order_outcomes(responses.decode_answer(body), 3)
    assert outcomes == (RestingWire(1), responses.refusal(MIN_VALUE), Waiting("waitingForTrigger"))
    assert responses.decode_answer(encode(responses.DEFAULT)).kind == "default"
    assert responses.decode_answer(encode(responses.err("Unable to recover signer."))).refused is not None
