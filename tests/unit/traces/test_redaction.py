"""Secrets go, hashes under their own names stay, and the quick look misses nothing that the careful one changes."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from perpstrader.traces.redaction import MARK, is_suspect, redact, redact_text

KEY = "4c0883a69102937d" * 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"key 0x{KEY} refused", f"key {MARK} refused"),
        (f"key {KEY.upper()}", f"key {MARK}"),
        (f"\n{KEY}\n", f"\n{MARK}\n"),
        ("Authorization: Bearer abc.def-123", f"Authorization: {MARK}"),
        ("sent bearer abcdefgh12345", f"sent bearer {MARK}"),
        ("url?api_key=abc&x=1, next", f"url?api_key={MARK}, next"),
        ('{"private_key": "hunter2", "x": 1}', f'{{"private_key": {MARK}, "x": 1}}'),
        ("PASSWORD = 'a b c' done", f"PASSWORD = {MARK} done"),
    ],
)
def test_what_looks_like_a_secret_goes(text: str, expected: str) -> None:
    assert redact_text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "cloid 0x50540000000000001234010000000101",
        "account 0x5e9ee1089755c3435139848e47e6635505d5a13a",
        "9" * 64,
        f"{KEY}{KEY[:2]}",
        "paid 0.5 in fee_token: USDC",
        "tokens are counted",
    ],
)
def test_client_order_ids_addresses_and_numbers_stay(text: str) -> None:
    assert redact_text(text) == text


def test_the_key_decides_for_64_digits() -> None:
    tree = {"hash": f"0x{KEY}", "settings_digest": KEY, "signal_id": KEY, "note": KEY, "raw": [KEY]}
    assert redact(tree) == {"hash": f"0x{KEY}", "settings_digest": KEY, "signal_id": KEY, "note": MARK, "raw": [MARK]}


def test_text_under_the_name_of_a_secret_goes_and_numbers_stay() -> None:
    tree = {"privateKey": "short", "api_token": {"a": ["x", 1.5]}, "fee_token": "USDC", "max_tokens": 7}
    assert redact(tree) == {"privateKey": MARK, "api_token": {"a": [MARK, 1.5]}, "fee_token": "USDC", "max_tokens": 7}


pieces = st.sampled_from(
    [
        KEY,
        f"0x{KEY}",
        KEY[:32],
        "token",
        "fee_token",
        "secret",
        "=",
        ":",
        " ",
        '"',
        "\\",
        "\n",
        "\f",
        "bearer ",
        "api_key",
        "é",
        "z",
        "digest",
    ]
)
texts = st.lists(pieces, max_size=6).map("".join)


@given(texts)
@example(f"token={MARK}")
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact_text(text)
    assert redact_text(once) == once


@given(st.dictionaries(texts, texts, max_size=4))
@example({"x": 'digest":"' + KEY})
@example({"x": "\f" + KEY})
def test_what_the_quick_look_passes_has_nothing_to_redact(tree: dict[str, str]) -> None:
    if not is_suspect(msgspec.json.encode(tree)):
        assert redact(tree) == tree
