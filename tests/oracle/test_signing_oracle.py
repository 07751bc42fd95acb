"""Signatures against what we did not write: the recorded vectors and the official SDK."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import coincurve
import pytest
from eth_account import Account
from hyperliquid.utils import signing as sdk
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.wire.samples import ACTIONS

from perpstrader.venue.signer import ALLOWED_ACTIONS, Signer
from perpstrader.venue.wire import actions, exchange, signing

USER_KINDS = {
    "UsdSend": "usdSend", "Withdraw": "withdraw3", "ApproveAgent": "approveAgent",
    "ApproveBuilderFee": "approveBuilderFee", "UsdClassTransfer": "usdClassTransfer",
}  # fmt: skip
ADDRESSES = st.integers(0, 2**160 - 1).map(lambda n: f"0x{n:040x}")
MILLISECONDS = st.integers(0, 2**63)
KEYS = st.integers(1, signing.CURVE_ORDER - 1).map(lambda n: f"0x{n:064x}")
FEW = settings(max_examples=max(40, settings().max_examples // 5))


@pytest.fixture(scope="session")
def vectors(test_data: Path) -> list[dict[str, Any]]:
    """The 37 recorded vectors, published by five projects."""
    rows: list[dict[str, Any]] = json.loads((test_data / "signing-vectors.json").read_text())
    assert len(rows) == 37
    return rows


def _l1(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["scheme"] == "l1"]


def _hash(row: dict[str, Any]) -> tuple[bytes, bytes]:
    action = actions.decode_action(json.dumps(row["action"]))
    assert not isinstance(action, actions.UserSigned)
    packed = actions.pack(action)
    return packed, signing.action_hash(packed, row["nonce"], row["vaultAddress"], row["expiresAfter"])


def test_every_l1_vector_has_our_bytes_hash_and_signatures_of_both_networks(vectors: list[dict[str, Any]]) -> None:
    rows = _l1(vectors)
    for row in rows:
        packed, connection_id = _hash(row)
        assert packed.hex() == row["msgpack"], row["name"]
        assert "0x" + connection_id.hex() == row["connectionId"], row["name"]
        key = coincurve.PrivateKey.from_hex(row["key"][2:])
        for network in ("mainnet", "testnet"):
            expected = row[network]
            digest = signing.l1_digest(connection_id, mainnet=network == "mainnet")
            assert "0x" + digest.hex() == expected["digest"], row["name"]
            made = signing.sign_digest(key, digest)
            assert (made.r, made.s, made.v) == (expected["r"], expected["s"], expected["v"]), row["name"]
            assert signing.recover_address(digest, made.r, made.s, made.v) == signing.address_of(key)
    assert len(rows) == 29


def test_every_user_signed_vector_has_our_signature(vectors: list[dict[str, Any]]) -> None:
    rows = [row for row in vectors if row["scheme"] == "user"]
    for row in rows:
        kind = USER_KINDS[row["primaryType"].partition(":")[2]]
        action = {"type": kind, "signatureChainId": hex(row["chainId"]), **row["message"]}
        key = coincurve.PrivateKey.from_hex(row["key"][2:])
        made = signing.sign_digest(key, signing.user_signed_digest(action))
        expected = row["signature"]
        assert (made.r, made.s, made.v) == (expected["r"], expected["s"], expected["v"]), row["name"]
    assert len(rows) == 8


def test_the_signer_makes_the_vectors_of_trading_actions(vectors: list[dict[str, Any]]) -> None:
    made = 0
    for row in _l1(vectors):
        action = actions.decode_action(json.dumps(row["action"]))
        if not isinstance(action, ALLOWED_ACTIONS):
            continue
        for network in ("mainnet", "testnet"):
            signature = Signer(row["key"], mainnet=network == "mainnet").sign_action(
                action, row["nonce"], vault_address=row["vaultAddress"], expires_after=row["expiresAfter"]
            )
            assert (signature.r, signature.s, signature.v) == tuple(row[network][part] for part in "rsv"), row["name"]
            made += 1
    assert made >= 40


@FEW
@given(ACTIONS, MILLISECONDS, st.none() | ADDRESSES, st.none() | MILLISECONDS, st.booleans(), KEYS)
def test_the_signer_agrees_with_the_official_sdk(
    action: dict[str, Any], nonce: int, vault: str | None, expiry: int | None, mainnet: bool, key: str
) -> None:
    ours = actions.decode_action(json.dumps(action))
    theirs = sdk.sign_l1_action(Account.from_key(key), action, vault, nonce, expiry, mainnet)
    if isinstance(ours, ALLOWED_ACTIONS) and "builder" not in action:
        made = Signer(key, mainnet=mainnet).sign_action(ours, nonce, vault_address=vault, expires_after=expiry)
        assert (int(made.r, 16), int(made.s, 16), made.v) == (int(theirs["r"], 16), int(theirs["s"], 16), theirs["v"])
    posted = {"action": action, "nonce": nonce, "signature": theirs, "vaultAddress": vault, "expiresAfter": expiry}
    request = exchange.decode_request(json.dumps(posted))
    assert exchange.recover_signer(request, mainnet=mainnet) == Account.from_key(key).address.lower()


USER_SIGNED = st.one_of(
    st.tuples(
        st.sampled_from(
            [("usdSend", sdk.sign_usd_transfer_action), ("withdraw3", sdk.sign_withdraw_from_bridge_action)]
        ),
        st.fixed_dictionaries({"destination": ADDRESSES, "amount": st.text(max_size=9), "time": MILLISECONDS}),
    ),
    st.tuples(
        st.just(("spotSend", sdk.sign_spot_transfer_action)),
        st.fixed_dictionaries(
            {
                "destination": ADDRESSES, "token": st.text(max_size=9), "amount": st.text(max_size=9),
                "time": MILLISECONDS,
            }
        ),
    ),
    st.tuples(
        st.just(("usdClassTransfer", sdk.sign_usd_class_transfer_action)),
        st.fixed_dictionaries({"amount": st.text(max_size=9), "toPerp": st.booleans(), "nonce": MILLISECONDS}),
    ),
    st.tuples(
        st.just(("approveAgent", sdk.sign_agent)),
        st.fixed_dictionaries({"agentAddress": ADDRESSES, "agentName": st.text(max_size=9), "nonce": MILLISECONDS}),
    ),
    st.tuples(
        st.just(("approveBuilderFee", sdk.sign_approve_builder_fee)),
        st.fixed_dictionaries({"maxFeeRate": st.text(max_size=9), "builder": ADDRESSES, "nonce": MILLISECONDS}),
    ),
    st.tuples(
        st.just(("sendAsset", sdk.sign_send_asset_action)),
        st.fixed_dictionaries(
            {
                "destination": ADDRESSES, "sourceDex": st.text(max_size=5), "destinationDex": st.text(max_size=5),
                "token": st.text(max_size=5), "amount": st.text(max_size=5), "fromSubAccount": st.text(max_size=5),
                "nonce": MILLISECONDS,
            }
        ),
    ),
)  # fmt: skip


@FEW
@given(USER_SIGNED, st.booleans(), KEYS)
def test_what_the_official_sdk_signs_for_a_user_is_recovered_here(case: Any, mainnet: bool, key: str) -> None:
    (kind, sign), fields = case
    action = {"type": kind, **fields}
    signature = sign(Account.from_key(key), action, mainnet)
    posted = {"action": action, "nonce": 1, "signature": signature, "vaultAddress": None, "expiresAfter": None}
    request = exchange.decode_request(json.dumps(posted))
    assert exchange.recover_signer(request, mainnet=mainnet) == Account.from_key(key).address.lower()


def test_an_agent_approval_is_the_official_sdks() -> None:
    key = "0x" + "11" * 32
    for name in ("bot", ""):
        action, made = Signer(key, mainnet=False).approve_agent("0x" + "ab" * 20, name, 1_700_000_000_000)
        fields: dict[str, Any] = {"type": "approveAgent", "agentAddress": "0x" + "ab" * 20, "agentName": name}
        theirs = sdk.sign_agent(Account.from_key(key), fields | {"nonce": 1_700_000_000_000}, False)
        assert (int(made.r, 16), int(made.s, 16), made.v) == (int(theirs["r"], 16), int(theirs["s"], 16), theirs["v"])
        assert action.get("agentName", "") == name
