"""A measured callable of any kind cannot be told from the bare one."""

from __future__ import annotations

import asyncio
import collections.abc
import contextlib
import copy
import functools
import inspect
import pickle
import pydoc
import types
import typing
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from differential import CASES, METERS, REFUSED, Measured, World, outcome
from recording import Recording

from tach.agent.meter import Meter
from tach.agent.patching import CannotPatch, Patcher

ATTRIBUTES = (
    "__doc__", "__name__", "__qualname__", "__module__", "__code__", "__defaults__",
    "__kwdefaults__", "__annotations__", "__dict__", "__closure__", "__builtins__",
    "__wrapped__", "__text_signature__", "__self__", "__func__", "__class__", "__objclass__",
    "__type_params__", "__isabstractmethod__", "__len__", "__iter__", "__next__", "__enter__",
    "__exit__", "__await__", "__aenter__", "__int__", "__index__", "__add__", "__bool__",
    "__contains__", "__getitem__", "__copy__", "__get__", "__set__", "__call__", "__fspath__",
    "__missing__", "__slots__", "__eq__", "__hash__", "__set_name__", "__mro_entries__",
    "__weakref__", "fget", "func", "args", "keywords", "cache_info", "register", "registry",
    "attribute", "number", "_tach", "_self_x", "nothing",
)  # fmt: skip
TYPES = [
    *(each for each in vars(types).values() if isinstance(each, type)),
    *(getattr(collections.abc, name) for name in collections.abc.__all__),
    contextlib.AbstractContextManager,
    contextlib.AbstractAsyncContextManager,
    typing.SupportsInt,
    typing.SupportsIndex,
    typing.SupportsAbs,
    typing.SupportsRound,
    functools.partial,
    str,
    int,
    object,
]  # fmt: skip
PREDICATES = [
    getattr(inspect, name)
    for name in dir(inspect)
    if name.startswith("is") and callable(getattr(inspect, name)) and name != "iskeyword"
]


def attributes(found: Any) -> Any:
    """What each attribute is, or how it is missed."""
    return [(name, outcome(getattr, found, name)) for name in ATTRIBUTES if seen(name, found)]


def seen(name: str, found: Any) -> bool:
    """Whether the attribute is one of those that name the object's own type, which is another."""
    return not (name in ("__call__", "__get__", "__eq__", "__hash__") and hasattr(found, name))


def predicates(found: Any) -> Any:
    """What inspect and asyncio take it for."""
    names = [(each.__name__, outcome(each, found)) for each in PREDICATES]
    return [*names, asyncio.iscoroutinefunction(found), callable(found)]


def instances(found: Any) -> Any:
    """What it is an instance of."""
    return [each for each in TYPES if isinstance(found, each)]


def sources(found: Any) -> Any:
    """Where inspect finds it, and with what text."""
    looks = (
        inspect.getsource,
        inspect.getsourcefile,
        inspect.getsourcelines,
        inspect.getdoc,
        inspect.getcomments,
        inspect.getmodule,
        inspect.getfile,
        inspect.getclosurevars,
        inspect.signature,
        inspect.getfullargspec,
        inspect.get_annotations,
        typing.get_type_hints,
    )
    return [(each.__name__, outcome(each, found)) for each in looks]


def documented(found: Any) -> Any:
    """What help() says."""
    return outcome(pydoc.render_doc, found)


def unwrapped(found: Any) -> Any:
    """Where inspect.unwrap ends."""
    return inspect.unwrap(found) is found, hasattr(found, "__wrapped__")


def texts(found: Any) -> Any:
    """Its texts."""
    return repr(found), str(found), format(found), f"{found!r:>90}"


def comparisons(found: Any) -> Any:
    """As a key, and compared with itself, with its equal and with others."""
    again = [found, copy.copy(found)]
    return (
        outcome(hash, found) == outcome(hash, found),
        bool(found),
        found == found,
        found != found,
        [found == each for each in again],
        found == 3,
        found in again,
        outcome(lambda: {found: 1}[found]),
        outcome(lambda: found < found)[:2],
        outcome(lambda: found + 1)[:2],
        outcome(lambda: len(found))[:2],
        outcome(lambda: int(found))[:2],
        outcome(lambda: found[0])[:2],
        outcome(lambda: iter(found))[:2],
        outcome(lambda: 1 in found)[:2],
    )


def copies(found: Any) -> Any:
    """What copy makes of it."""
    shallow, deep = outcome(copy.copy, found), outcome(copy.deepcopy, found)
    if shallow[0] == "raised":
        return shallow, deep
    return shallow, deep, copy.copy(found) is found


def pickles(found: Any) -> Any:
    """How it is pickled, and read again."""
    protocols = range(pickle.HIGHEST_PROTOCOL + 1)
    return [
        outcome(lambda each=each: pickle.loads(pickle.dumps(found, each))) for each in protocols
    ]


def weak(found: Any) -> Any:
    """Weak references to it."""
    try:
        reference = weakref.ref(found)
    except TypeError as error:
        return str(error)
    keys = weakref.WeakKeyDictionary({found: 1}) if found.__hash__ else {}
    method = outcome(lambda: weakref.WeakMethod(found)() == found)
    return reference() is found, weakref.ref(found) is reference, len(keys), keys.get(found), method


def wrapping(found: Any) -> Any:
    """functools.wraps over it."""
    try:
        wrapper = functools.wraps(found)(lambda *args: args)
    except (AttributeError, TypeError) as error:
        return str(error)
    kept = {name: value for name, value in vars(wrapper).items() if name != "__wrapped__"}
    return (
        wrapper.__name__,
        wrapper.__qualname__,
        wrapper.__doc__,
        wrapper.__wrapped__ is found,
        inspect.unwrap(wrapper) is inspect.unwrap(found),
        outcome(inspect.signature, wrapper),
        kept,
    )


def others(found: Any) -> Any:
    """What other parts of the standard library make of it."""
    return (
        outcome(lambda: inspect.signature(mock.create_autospec(found))),
        outcome(lambda: functools.partial(found).func is found),
        outcome(lambda: types.MethodType(found, 3)),
        sorted(name for name in dir(found) if name != "__dict__"),
        outcome(lambda: inspect.signature(functools.partial(found, 1))),
        outcome(lambda: sorted(vars(found))),
    )


def settings(found: Any) -> Any:
    """What comes of attributes that are set and deleted."""
    said = [outcome(setattr, found, "fresh", 1), outcome(getattr, found, "fresh")]
    said += [outcome(delattr, found, "fresh"), outcome(getattr, found, "fresh")]
    for name, value in {
        "__doc__": "other",
        "__name__": "other",
        "__qualname__": "Other.other",
        "__module__": "elsewhere",
        "__annotations__": {"a": str},
        "__defaults__": (5, 6),
        "__kwdefaults__": {"c": 9},
        "__wrapped__": 5,
        "_self_x": 6,
        "__dict__": {"one": 1},
        "__code__": 3,
        "__len__": 4,
        "__call__": 5,
    }.items():
        said += [outcome(setattr, found, name, value), outcome(getattr, found, "__dict__")]
        if name not in ("__call__", "__dict__"):
            said += [outcome(getattr, found, name), outcome(delattr, found, name)]
            said += [outcome(hasattr, found, name)]
    return [*said, outcome(functools.update_wrapper, found, others), outcome(vars, found)]


OBSERVATIONS: tuple[Callable[[Any], Any], ...] = (
    attributes, predicates, instances, sources, documented, unwrapped, texts, comparisons, copies,
    pickles, weak, wrapping, others, settings,
)  # fmt: skip


# What stays different, because a probe is an object of another class than what it stands for.
IN_C = ("method in C", "__len__ in C", "__init__ in C", "method of str")
KNOWN = {
    # one can have a weak reference to it; `C.m` of a method written in C has none
    **{(kind, weak): "the bare one has no weak references" for kind in IN_C},
    ("callable instance", instances): "a Container and Reversible, as it has __iter__ or __len__",
    ("callable instance", documented): "pydoc shows the class of the object",
    ("callable instance", sources): "getfullargspec follows no __wrapped__",
    ("partial", documented): "pydoc shows the class of the object",
}


@pytest.fixture(params=("pure", "compiled"))
def recording(tmp_path: Path, request: pytest.FixtureRequest) -> Recording:
    """Probes of this test's own."""
    return Recording(tmp_path, request.param)


def observe(
    make: Callable[[], World], expressions: tuple[str, ...], see: Callable[[Any], Any]
) -> list[Any]:
    """What is seen of each object, in a world of its own."""
    found = []
    for each in expressions:
        world = make()
        with world.entered():
            found.append(outcome(see, world.see(each)))
    return found


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of inspect, about bare ones too
@pytest.mark.parametrize("see", OBSERVATIONS, ids=lambda see: see.__name__)
@pytest.mark.parametrize("kind", CASES)
def test_it_looks_the_same(kind: str, see: Callable[[Any], Any], recording: Recording) -> None:
    """What a program can see of a callable is the same, measured and bare."""
    target, access = CASES[kind][:2]
    bare = observe(World, access, see)
    measured = observe(lambda: Measured(recording, target), access, see)

    if (kind, see) in KNOWN:
        assert measured != bare
    else:
        assert measured == bare


@pytest.mark.parametrize("meter", METERS)
@pytest.mark.parametrize("kind", CASES)
def test_it_does_the_same(kind: str, meter: str, recording: Recording) -> None:
    """What comes of each use is the same, and every call of the target is counted, once."""
    target, _, uses, calls = CASES[kind]
    bare, measured = World(), Measured(recording, target, meter)

    for use in uses:
        outcomes = []
        for world in (bare, measured):
            with world.entered():
                outcomes.append(outcome(world.see, use))
        assert outcomes[1] == outcomes[0]
    assert measured.calls == (len(uses) if calls < 0 else calls)
    assert recording.troubles == []


@pytest.mark.parametrize("kind", CASES)
def test_undo_leaves_nothing(kind: str, recording: Recording) -> None:
    """After undo all namespaces hold the very objects that they held, in the order they did."""
    target, _, uses, _ = CASES[kind]
    world = World()
    before = namespaces(world)
    made = Meter(recording.recorder())
    patch = Patcher(recording.proxy, recording.probes).patch(world.module, target, made)
    assert patch is not None
    assert namespaces(world) != before

    assert patch.undo()

    assert namespaces(world) == before
    with world.entered():
        for use in uses:
            outcome(world.see, use)
    assert recording.calls() == 0


def namespaces(world: World) -> dict[str, dict[str, int]]:
    """What is in the module and in each of its classes, by identity."""
    classes = {name: each for name, each in vars(world.module).items() if isinstance(each, type)}
    found = {"": world.module, "Thing.Nested": world.module.Thing.Nested, **classes}
    return {
        place: {
            name: id(each)
            for name, each in sorted(vars(owner).items())
            if name not in ("__annotations__", "__annotations_cache__")
        }
        for place, owner in found.items()
        if place == "" or owner.__module__ == "callables"
    }


@pytest.mark.parametrize("target", REFUSED)
def test_what_cannot_be_measured_is_refused(target: str, recording: Recording) -> None:
    """It says why, and leaves what is there alone."""
    world = World()
    before = namespaces(world)

    with pytest.raises(CannotPatch, match=REFUSED[target]):
        Patcher(recording.proxy, recording.probes).patch(
            world.module, target, Meter(recording.recorder())
        )

    assert namespaces(world) == before
