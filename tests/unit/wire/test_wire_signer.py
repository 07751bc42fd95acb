"""The signer: trades only, and keeps its key to itself."""

from __future__ import annotations

import copy
import json
import pickle
import traceback

import pytest

from perpstrader.venue.signer import ALLOWED_ACTIONS, KeyFormatError, Signer, SigningRefusedError, parse_private_key
from perpstrader.venue.wire import WireError, actions, exchange, signing

SECRET = "5a" * 32
SIGNER = Signer("0x" + SECRET, mainnet=False)

TRADING = {
    "order", "cancel", "cancelByCloid", "modify", "batchModify", "scheduleCancel", "updateLeverage",
    "updateIsolatedMargin", "topUpIsolatedOnlyMargin", "twapOrder", "twapCancel", "reserveRequestWeight", "noop",
}  # fmt: skip


def test_S72_the_allow_list_is_the_trading_actions_and_nothing_else() -> None:
    assert {kind.__struct_config__.tag for kind in ALLOWED_ACTIONS} == TRADING


@pytest.mark.parametrize("kind", sorted(actions.USER_SIGNED_TYPES))
def test_S72_no_user_signed_action_passes_the_signer(kind: str) -> None:
    action = actions.decode_action(json.dumps({"type": kind, "amount": "1", "destination": "0x" + "11" * 20}))
    with pytest.raises(SigningRefusedError, match=f"{kind} is never signed here"):
        SIGNER.sign_action(action, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "kind",
    ["vaultTransfer", "subAccountTransfer", "subAccountSpotTransfer", "createSubAccount", "agentSendAsset", "dummy"],
)
def test_S72_no_transfer_passes_the_signer(kind: str) -> None:
    with pytest.raises(SigningRefusedError, match=kind):
        SIGNER.sign_action(actions.decode_action(json.dumps({"type": kind})), 1)  # type: ignore[arg-type]


def test_S72_referrers_raw_dictionaries_builders_and_weight_for_others_are_refused() -> None:
    other = "0x" + "11" * 20
    paying = actions.Order([], "na", actions.Builder(other, 10))
    refused = (actions.SetReferrer("X"), {"type": "order"}, actions.ReserveRequestWeight(1, other), paying)
    for action in refused:
        with pytest.raises(SigningRefusedError):
            SIGNER.sign_action(action, 1)  # type: ignore[arg-type]


def test_S72_the_key_is_in_no_text_pickle_or_copy() -> None:
    assert SECRET not in repr(SIGNER) + str(SIGNER) + f"{SIGNER!r:>5}"
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="neither pickled nor copied"):
            leak(SIGNER)
    assert not hasattr(SIGNER, "__dict__")


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("0x" + SECRET[:-1], "65 characters"),
        (SECRET + "5a5", "67 characters"),
        ("z" * 64, "other characters"),
        ("", "0 characters"),
    ],
)
def test_S72_a_wrong_key_is_told_without_being_shown(text: str, detail: str) -> None:
    with pytest.raises(KeyFormatError, match=f"a private key is 0x and 64 hex digits; got {detail}") as caught:
        Signer(text, mainnet=False)
    shown = "".join(traceback.format_exception(caught.value))
    assert SECRET[:40] not in shown
    assert "zzzz" not in shown


@pytest.mark.parametrize("number", [0, signing.CURVE_ORDER, 2**256 - 1])
def test_a_number_outside_of_the_curve_is_no_key(number: int) -> None:
    with pytest.raises(KeyFormatError, match="no private key"):
        parse_private_key(f"0x{number:064x}")


def test_blanks_and_a_missing_prefix_are_forgiven() -> None:
    assert parse_private_key(f" {SECRET}\n") == parse_private_key("0X" + SECRET) == bytes.fromhex(SECRET)


def test_signatures_are_deterministic_padded_and_of_their_network() -> None:
    noop = actions.Noop()
    for nonce in range(200):
        signature = SIGNER.sign_action(noop, nonce)
        assert len(signature.r) == len(signature.s) == 66
        assert signature == SIGNER.sign_action(noop, nonce)
    assert SIGNER.sign_action(noop, 1) != Signer(SECRET, mainnet=True).sign_action(noop, 1)


def test_unpadded_signatures_recover_alike() -> None:
    noop = actions.Noop()
    for nonce in range(300):
        signature = SIGNER.sign_action(noop, nonce)
        digest = signing.l1_digest(signing.action_hash(actions.pack(noop), nonce), mainnet=False)
        unpadded = (hex(int(signature.r, 16)), hex(int(signature.s, 16)))
        assert signing.recover_address(digest, *unpadded, signature.v) == SIGNER.address
        assert signing.recover_address(digest, signature.r, signature.s, signature.v - 27) == SIGNER.address


@pytest.mark.parametrize(
    ("r", "s", "v"),
    [
        ("0x0", "0x1", 27), ("0x1", "0x0", 27), ("xyz", "0x1", 27), ("0x1", "0x1", 30), ("0x5", "0x1", 28),
        ("0x" + "ff" * 32, "0x1", 27),
    ],
)  # fmt: skip
def test_what_is_no_signature_is_one_clear_error(r: str, s: str, v: int) -> None:
    with pytest.raises(WireError, match="unable to recover a signer"):
        signing.recover_address(bytes(32), r, s, v)


def test_an_agent_is_approved_by_typed_data_and_an_empty_name_is_left_out() -> None:
    for name in ("bot", ""):
        action, signature = SIGNER.approve_agent("0x" + "AB" * 20, name, 1_700_000_000_000)
        assert ("agentName" in action) is bool(name)
        posted = exchange.PostedRequest(action, 1_700_000_000_000, signature)
        request = exchange.decode_request(exchange.encode_request(posted))
        assert isinstance(request.action, actions.UserSigned)
        assert exchange.recover_signer(request, mainnet=False) == SIGNER.address


@pytest.mark.parametrize("address", ["", "0x12", "nonsense", "0x" + "zz" * 20])
def test_what_is_no_address_is_never_hashed(address: str) -> None:
    with pytest.raises(WireError, match="is no address"):
        signing.action_hash(b"", 1, address)
