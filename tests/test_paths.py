from __future__ import annotations

from collections import UserDict, defaultdict
from functools import wraps
from types import SimpleNamespace
from typing import Any

import pytest

from tach.agent.paths import Lookup, Missing, Signature
from tach.config_events import compile_path


def function(self: Any, first: Any, second: Any = "default", *more: Any, only: Any = "kw") -> None:
    """What the paths are about."""


def find(text: str, *args: Any, skip: int = 1, result: Any = None, **kwargs: Any) -> Any:
    """What the path leads to in a call of `function` with these arguments."""
    path = compile_path(text)
    assert path is not None
    return Lookup(path, Signature(function, skip)).find(args, kwargs, result)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("self", "me"),
        ("args.first", 1),
        ("args['first']", 1),
        ("args.second", 2),
        ("args[0]", 1),
        ("args[1]", 2),
        ("args[2]", 3),
        ("args[-1]", 3),
        ("args[-3]", 1),
        ("args.only", "kw"),
        ("kwargs[x]", {"y": [5, 6]}),
        ("kwargs.x.y[-1]", 6),
        ("kwargs['x'].y[0]", 5),
        ("result.real", 7),
    ],
)
def test_paths_lead_to_parts_of_a_call(path: str, found: Any) -> None:
    """Arguments by name or number, keywords, self and the result; then attributes and items."""
    assert find(path, "me", 1, 2, 3, result=7, x={"y": [5, 6]}) == found


def test_an_argument_is_found_however_it_is_passed() -> None:
    """By position, by keyword, or not at all: then its default counts."""
    assert find("args.second", "me", 1, 2) == 2
    assert find("args.second", "me", 1, second=3) == 3
    assert find("args.second", "me", 1) == "default"
    assert find("args.only", "me", 1, only=4) == 4


def test_a_decorated_function_has_the_parameters_of_the_inner_one() -> None:
    """What `functools.wraps` names is asked for names."""

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> None: ...

    path = compile_path("args.first")
    assert path is not None
    assert Lookup(path, Signature(wrapper, 1)).find(("me", 1), {}, None) == 1


@pytest.mark.parametrize(
    "path",
    ["args.nobody", "args[2]", "args[-3]", "args.first.nope", "kwargs[z]", "args.second[0]"],
)
def test_what_is_not_there_is_missing(path: str) -> None:
    """A step that leads nowhere raises Missing, and nothing else; self is no positional one."""
    with pytest.raises(Missing):
        find(path, "me", 1, 2, x=1)


def test_a_function_has_no_self() -> None:
    """Without a first argument that is left out, the numbers begin at the first."""
    assert find("args[0]", "me", 1, skip=0) == "me"
    with pytest.raises(Missing):
        find("self", "me", 1, skip=0)


def test_a_name_is_an_attribute_or_an_item_of_a_mapping() -> None:
    """Of a dict it is an item; of a mapping of another kind what it has."""

    class Both(dict):
        name = "attribute"

    assert find("args.first.keys", "me", {"keys": 1}) == 1
    assert find("args.first.name", "me", Both(name="item")) == "item"
    assert find("args.first.name", "me", Both()) == "attribute"
    assert find("args.first.name", "me", UserDict(name="item")) == "item"
    assert find("args.first.a.b", "me", SimpleNamespace(a={"b": 2})) == 2
    with pytest.raises(Missing):
        find("args.first.keys", "me", {})


def test_looking_changes_nothing() -> None:
    """A defaultdict has no more keys than before."""
    argument: dict[str, Any] = defaultdict(list)
    for path in ("args.first.a", "args.first[a]"):
        with pytest.raises(Missing):
            find(path, "me", argument)
    assert argument == {}


def test_what_an_attribute_raises_comes_out() -> None:
    """Only an AttributeError means that it is not there."""

    class Evil:
        @property
        def a(self) -> None:
            raise OSError("gone")

        @property
        def b(self) -> None:
            raise AttributeError("gone")

    with pytest.raises(OSError, match="gone"):
        find("args.first.a", "me", Evil())
    with pytest.raises(Missing):
        find("args.first.b", "me", Evil())
