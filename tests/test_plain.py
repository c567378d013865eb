from __future__ import annotations

import datetime
import enum
import json
import time
import tracemalloc
import uuid
from decimal import Decimal
from typing import Any
from unittest.mock import MagicMock, Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tach.agent.plain import ALL_ITEMS, ITEMS, TEXT, Plain
from tach.config_events import HIDDEN as ALWAYS_HIDDEN

PLAIN = Plain(("password", "SECRET"))


def plain(value: Any) -> Any:
    """What a reader of the JSON sees."""
    text = PLAIN.json(value)
    assert text.isascii()
    return json.loads(text, parse_constant=pytest.fail)


class Evil:
    """Whatever is asked of it, it fails, and late."""

    def _fail(self, *args: Any) -> Any:
        time.sleep(0.05)
        raise RuntimeError("evil")

    __repr__ = __str__ = __eq__ = __hash__ = __bool__ = __iter__ = __len__ = _fail
    __int__ = __float__ = __index__ = __format__ = __getattr__ = _fail
    __class__ = property(_fail)  # type: ignore[assignment]


class Text(str):
    def _fail(self, *args: Any) -> Any:
        raise RuntimeError("evil")

    __str__ = __repr__ = __getitem__ = __len__ = encode = __format__ = _fail


class Number(int):
    def _fail(self, *args: Any) -> Any:
        raise RuntimeError("evil")

    __str__ = __repr__ = __add__ = __radd__ = __lt__ = __le__ = __int__ = __index__ = _fail


class Real(float):
    def _fail(self, *args: Any) -> Any:
        raise RuntimeError("evil")

    __str__ = __repr__ = __add__ = __sub__ = __float__ = _fail


class Colour(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (None, None),
        (True, True),
        (12, 12),
        (-(1 << 63), -(1 << 63)),
        (1 << 64, "<int>"),
        (10**5000, "<int>"),
        (1.5, 1.5),
        (float("nan"), None),
        (float("inf"), None),
        (-float("inf"), None),
        ("größe\n\ud800", "größe\n\ud800"),
        (b"a\xff", "a�"),
        (bytearray(b"a"), "a"),
        ([1, (2, {3})], [1, [2, [3]]]),
        ({"a": {"b": [None]}, 1: 2, None: 3}, {"a": {"b": [None]}, "1": 2, "null": 3}),
        (datetime.datetime(2026, 1, 2, 3, 4, 5), "2026-01-02 03:04:05"),
        (datetime.timedelta(seconds=1), "0:00:01"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Decimal("1.50"), "1.50"),
        (Text("text"), "text"),
        (Number(7), 7),
        (Real(1.5), 1.5),
        (Real("nan"), None),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (object(), "<builtins.object>"),
        (Evil(), f"<{__name__}.Evil>"),
        (Evil, "<builtins.type>"),
        (Mock(spec=str), "<unittest.mock.Mock>"),
        (MagicMock(), "<unittest.mock.MagicMock>"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_values_become_plain(value: Any, seen: Any) -> None:
    """JSON values stay, some others become text, all the rest the name of its class."""
    began = time.monotonic()
    assert plain(value) == seen
    assert time.monotonic() - began < 0.05


def test_hidden_words_hide_at_every_level() -> None:
    """A key with one of the words, in any case, keeps its value to itself."""
    value = {"a": {"userPassword": {"x": "s3cret"}, "b": [{"SecretKey": "s3cret"}]}, "c": 1}
    assert plain(value) == {
        "a": {"userPassword": "***", "b": [{"SecretKey": "***"}]},
        "c": 1,
    }


HIDES = Plain((*ALWAYS_HIDDEN, "ssn", "Card-Number", "größe", "*", ""))


@pytest.mark.parametrize(
    "name",
    [
        "auth", "auth_token", "authToken", "X-Auth-Token", "HTTPAuth", "http.auth", "oauth2",
        "AUTH", "pass", "PASS", "passWord", "user_password", "password2", "Passwords", "passwd",
        "dbpass", "PASSWORDs", "userpwd", "pwd1", "passphrase", "Authorization",
        "proxy-authorization", "apiKey", "APIKey", "apikey", "API_KEYS", "x-api-key", "api.key",
        "my api key", "privateKeys", "secret", "clientSecret", "client_secrets", "secretkey",
        "tokens", "accesstoken", "tokenvalue", "credentials", "aws_credential_file", "ssn",
        "SSNs", "user.ssn", "ssn2", "card_number", "cardNumber", "CARDNUMBER", "card-numbers",
        "Größe", "x" * 200 + "auth" + "x" * 200,
    ],
)  # fmt: skip
def test_names_with_a_hidden_word_hide(name: str) -> None:
    """However the words of a name are put together, a secret stays one, the second time too."""
    assert [HIDES.hides(name), HIDES.hides(name)] == [True, True]


@pytest.mark.parametrize(
    "name",
    [
        "author", "Author", "authors", "co_author", "authority", "passenger", "passengerName",
        "PassengerCount", "passing", "passive", "passport", "classname", "lessness", "key", "api",
        "keyApi", "card", "number", "numberCard", "private", "", "_", "42", "photo_kennel", "*",
        "name", "x" * 1000,
    ],
)  # fmt: skip
def test_names_that_only_look_alike_tell(name: str) -> None:
    """A short hidden word at the beginning of some other word hides nothing."""
    assert [HIDES.hides(name), HIDES.hides(name)] == [False, False]


def test_names_are_remembered_within_bounds() -> None:
    """A program that makes up keys without end fills no memory, and waits for none."""
    plain = Plain(ALWAYS_HIDDEN)
    keys = [f"{'aB_' * 40}{number}" for number in range(2000)]
    began = time.monotonic()
    tracemalloc.start()
    try:
        assert not any(plain.hides(key) for key in keys)
        assert not plain.hides("x" * 10_000_000)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 200_000
    assert time.monotonic() - began < 2.0


@given(st.text(max_size=200), st.sampled_from(["_", "-", ".", " "]))
def test_a_word_beside_anything_hides(text: str, between: str) -> None:
    """Whatever stands before and behind: a word of its own is seen."""
    assert HIDES.hides(f"{text}{between}auth{between}{text}")


def test_what_is_large_is_cut() -> None:
    """Texts, lists, depth and the whole are bounded, and so is the time it takes."""
    wide: Any = "x" * TEXT
    for _ in range(4):
        wide = [wide] * 100
    cycle: dict[str, Any] = {}
    cycle["again"] = [cycle]
    huge = dict.fromkeys(range(1_000_000))

    began = time.monotonic()
    assert plain("x" * 10_000_000) == "x" * TEXT
    assert plain(b"x" * 10_000_000) == "x" * TEXT
    assert plain([1] * 1000) == [1] * ITEMS
    assert len(plain(huge)) == ITEMS
    assert plain(cycle) == {"again": [{"again": ["<builtins.dict>"]}]}
    assert len(PLAIN.json(wide)) < (ALL_ITEMS + 1) * (TEXT + 10)
    assert plain({"k" * 5000: 1}) == {"k" * TEXT: 1}
    assert time.monotonic() - began < 0.5


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
)


@given(ANYTHING)
def test_whatever_comes_is_valid_json(value: Any) -> None:
    """No value of the program makes a message that cannot be read."""
    plain(value)
