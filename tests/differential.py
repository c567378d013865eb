"""The same callables twice: as they are, and measured; and what of them is compared."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from recording import Recording

from tach.agent.meter import Meter
from tach.agent.patching import Patch, Patcher

PROGRAMS = Path(__file__).parent / "programs"
YIELDING = frozenset(["running", "waiting", "yields", "max_run", "cpu"])


class Companion:
    """Measures nothing more, but has the calls measured in Python."""

    def start(self, *_call: object) -> None:
        """A call begins."""

    def stop(self, *_call: object) -> None:
        """It has ended."""


METERS: dict[str, dict[str, Any]] = {
    "counts": {},
    "counts parts": {"inflight": True, "yielding": YIELDING},
    "measures more": {
        "inflight": True,
        "yielding": YIELDING,
        "companions": (lambda _function, _skip: Companion(),),
    },
}


class Case(NamedTuple):
    """A target in callables.py, where the program finds it, and what it does with it."""

    target: str
    access: tuple[str, ...]
    uses: tuple[str, ...]
    calls: int = -1  # of the target in all uses; one each where it is -1


def case(target: str, access: str, uses: str, calls: int = -1) -> Case:
    """A case written with ; between the expressions."""
    return Case(target, parts(access), parts(uses), calls)


def parts(text: str) -> tuple[str, ...]:
    """The expressions in the text."""
    return tuple(part.strip() for part in text.split(";") if part.strip())


CASES: dict[str, Case] = {
    "function": case("function", "function", "function(1); function(1, 2, 3, c=4, self=5)"),
    "function that raises": case("fails", "fails", "fails(KeyError('k')); fails(SystemExit(3))"),
    "function called wrongly": case("function", "function", "function(); function(1, a=2)"),
    "lambda": case("shortened", "shortened", "shortened(1); shortened(b=1, a=2)"),
    "closure": case("closure", "closure", "closure(); closure(step=5); closure()"),
    "decorated": case("decorated", "decorated; decorated.__wrapped__", "decorated(1)"),
    "partial": case("partial", "partial", "partial(); partial(5, c=6)"),
    "singledispatch": case(
        "dispatched",
        "dispatched; dispatched.dispatch(int)",
        "dispatched(1); dispatched('a'); dispatched.registry[int](1)",
        2,
    ),
    "lru_cache": case(
        "cached", "cached", "cached(1); cached(1) is cached(1); cached.cache_info(); cached([])", 4
    ),
    "function in C": case("from_c", "from_c", "from_c(3, 4); from_c('a')"),
    "callable instance": case("instance", "instance", "instance(1); instance(1, b=3)"),
    "method": case(
        "Thing.method",
        "Thing.method; Thing(1).method; Further(1).method; Thing.__dict__['method']",
        "Thing().method(1); Thing.method(Thing(), 1, b=4); Further().method(2);"
        "Thing.__dict__['method'].__get__(Thing(9), Thing)(1);"
        "Thing.method.__get__(None, Thing)(Thing(8), 1); Thing().method()",
    ),
    "overriding method": case(
        "Further.method",
        "Further.method; Last().method; Thing().method",
        "Further().method(1); Last().method(1, b=2); super(Last, Last()).method(3)",
    ),
    "inherited method": case(
        "Further.inherited",
        "Further.inherited; Further().inherited; Last().inherited; Thing().inherited",
        "Further().inherited(); Last().inherited(5); Thing().inherited()",
        2,
    ),
    "class method": case(
        "Thing.of_class",
        "Thing.of_class; Thing().of_class; Further.of_class; Last().of_class",
        "Thing.of_class(); Thing().of_class(a=3); Further.of_class(4); Last().of_class();"
        "Thing.__dict__['of_class'].__get__(None, Last)(6)",
    ),
    "inherited class method": case(
        "Last.of_class", "Last.of_class; Last().of_class", "Last.of_class(); Last().of_class(3)"
    ),
    "static method": case(
        "Thing.static",
        "Thing.static; Thing().static; Last.static",
        "Thing.static(); Thing().static(3); Last.static(a=4)",
    ),
    "private method": case(
        "Thing.__private", "Thing._Thing__private", "Thing().call_private(); Last().call_private()"
    ),
    "nested method": case(
        "Thing.Nested.method",
        "Thing.Nested.method; Thing.Nested().method",
        "Thing.Nested().method()",
    ),
    "decorated method": case(
        "Thing.decorated_method",
        "Thing.decorated_method; Thing().decorated_method; Last().decorated_method",
        "Thing().decorated_method(); Last().decorated_method(4)",
    ),
    "cached method": case(
        "Thing.cached_method",
        "Thing.cached_method; Thing().cached_method; Last().cached_method",
        "Thing().cached_method(); Thing.cached_method(Thing(), 2)",
    ),
    "property": case(
        "Thing.exact",
        "Thing.exact; Thing.exact.fget; Thing.exact.fset; Thing(4).exact",
        "Thing(4).exact; Last(5).exact; setattr(Thing(), 'exact', 3); delattr(Thing(), 'exact');"
        "Thing.exact.__get__(Thing(2))",
        3,
    ),
    "cached property": case(
        "Thing.once",
        "Thing.once; Thing(1).once",
        "(lambda thing: (thing.once is thing.once, vars(thing)))(Thing(3)); Last().once",
    ),
    "partial method": case(
        "Thing.part", "Thing(1).part; Thing.part", "Thing().part(); Last().part(b=2)"
    ),
    "__init__": case("Thing.__init__", "Thing.__init__; Thing", "Thing(4); Last(5); Thing(4, 5)"),
    "inherited __init__": case("Last.__init__", "Last.__init__", "Last(5); Thing(4)", 1),
    "__new__": case("Made.__new__", "Made.__new__; Made", "Made(4).number; Made(number=5).number"),
    "__new__ in C": case("Number.__new__", "Number.__new__", "Number(4); Number('x')"),
    "__call__": case(
        "Thing.__call__", "Thing.__call__; Thing(3)", "Thing()(1); Last()(1, b=3); instance(2)"
    ),
    "__eq__": case(
        "Thing.__eq__",
        "Thing.__eq__; Thing(1)",
        "Thing(1) == Thing(1); Thing(1) != Thing(2); Thing(1) in [Thing(2)]; {Thing(1), Thing(1)}",
    ),
    "__enter__": case(
        "Thing.__enter__", "Thing.__enter__", "contextlib.ExitStack().enter_context(Thing())"
    ),
    "__len__": case("Thing.__len__", "Thing.__len__", "len(Thing(5)); bool(Thing(0))"),
    "__getitem__": case("Thing.__getitem__", "Thing.__getitem__", "Thing()['a']; Thing()[1:2]"),
    "__add__": case("Thing.__add__", "Thing.__add__", "Thing(1) + 2; 2 + Thing(1)", 1),
    "__repr__": case("Thing.__repr__", "Thing.__repr__", "repr(Thing(2)); f'{Last(1)}'"),
    "__hash__": case("Thing.__hash__", "Thing.__hash__; Thing(2)", "hash(Thing(2)); {Thing(1): 2}"),
    "__class_getitem__": case(
        "Thing.__class_getitem__", "Thing.__class_getitem__", "Thing[int]; Last['x']"
    ),
    "__init_subclass__": case(
        "Thing.__init_subclass__",
        "Thing.__init_subclass__",
        "type('New', (Thing,), {}, tag='new').tag; type('New', (Last,), {}).tag;"
        "type('New', (Thing,), {}, nothing=1)",
    ),
    "method in C": case("FromC.update", "FromC.update", "FromC().update(a=1); FromC().update(1)"),
    "__len__ in C": case("FromC.__len__", "FromC.__len__", "len(FromC(a=1))"),
    "__init__ in C": case("FromC.__init__", "FromC.__init__", "FromC(a=1); FromC(1)"),
    "method of str": case("Text.join", "Text.join", "Text('a').join('xyz')"),
    "method with slots": case(
        "Slotted.method",
        "Slotted.method; Slotted().method",
        "Slotted(3).method(); Slotted().method(2)",
    ),
    "metaclass method": case(
        "Meta.of_meta", "Meta.of_meta; OfMeta.of_meta", "OfMeta.of_meta(); Meta.of_meta(OfMeta, 2)"
    ),
    "metaclass __call__": case("Meta.__call__", "Meta.__call__; OfMeta", "OfMeta(); OfMeta(1)"),
    "metaclass property": case("Meta.meta_property", "Meta.meta_property", "OfMeta.meta_property"),
    "abstract method": case(
        "Abstract.must",
        "Abstract.must; Concrete().must; Abstract.__abstractmethods__",
        "Concrete().must(); Abstract(); type('Lacks', (Abstract,), {})();"
        "type('Lacks', (Abstract,), {}).__abstractmethods__ - {''}",
        1,
    ),
    "abstract property": case(
        "Abstract.must_property",
        "Abstract.must_property; Abstract.must_property.__isabstractmethod__",
        "Concrete().must_property; Abstract()",
        1,
    ),
    "protocol method": case(
        "Proto.speak",
        "Proto.speak; Speaker().speak",
        "Speaker().speak(2); isinstance(Speaker(), Proto); isinstance(3, Proto); Proto()",
        1,
    ),
    "generic method": case(
        "Box.get", "Box.get; Box[int](1).get", "Box[int](1).get(); Box('a').get(3)"
    ),
    "generic __init__": case(
        "Box.__init__", "Box.__init__; Box", "Box[int](1).item; Box('a').item"
    ),
    "dataclass method": case(
        "Point.scaled", "Point.scaled; Point(1).scaled", "Point(1).scaled(); Point(1).scaled(3)"
    ),
    "dataclass __init__": case(
        "Point.__init__",
        "Point.__init__; Point",
        "Point(1); Point(1, y=3); Point(); Point(1).scaled()",
        5,
    ),
    "dataclass __eq__": case("Point.__eq__", "Point.__eq__", "Point(1) == Point(1); Point(1) == 3"),
    "dataclass __lt__": case("Point.__lt__", "Point.__lt__", "Point(1) < Point(2); Point(1) < 3"),
    "frozen dataclass": case("Frozen.plus", "Frozen.plus; Frozen(1).plus", "Frozen(1).plus(2)"),
    "enum method": case(
        "Colour.shade", "Colour.shade; Colour.RED.shade", "Colour.RED.shade(); list(Colour)", 1
    ),
    "enum class method": case("Colour.default", "Colour.default", "Colour.default()"),
    "enum _missing_": case("Colour._missing_", "Colour._missing_", "Colour('none'); Colour('x')"),
    "namedtuple method": case(
        "Pair.total", "Pair.total; Pair(1).total", "Pair(1).total(); Pair(2, 3).total(1)"
    ),
    "namedtuple __new__": case(
        "Pair.__new__", "Pair.__new__; Pair", "Pair(1); Pair(); Pair(1)._replace(left=2)"
    ),
    "contextmanager": case(
        "manager",
        "manager; manager.__wrapped__",
        "contextlib.ExitStack().enter_context(manager(4))",
    ),
    "asynccontextmanager": case("async_manager", "async_manager", "run(use(async_manager(4)))"),
    "coroutine": case("coroutine", "coroutine", "run(coroutine(1)); run(coroutine(1, b=3))"),
    "coroutine that raises": case(
        "coroutine_fails", "coroutine_fails", "run(coroutine_fails(KeyError('k')))"
    ),
    "coroutine method": case(
        "Flows.coroutine",
        "Flows.coroutine; Flows().coroutine; MoreFlows().coroutine",
        "run(Flows().coroutine()); run(MoreFlows().coroutine(3))",
    ),
    "coroutine class method": case(
        "Flows.of_class", "Flows.of_class; MoreFlows().of_class", "run(MoreFlows.of_class(2))"
    ),
    "coroutine static method": case("Flows.static", "Flows.static", "run(Flows().static(2))"),
    "__aenter__": case("Flows.__aenter__", "Flows.__aenter__", "run(use(Flows()))"),
    "__await__": case("Flows.__await__", "Flows.__await__", "run(wait_for(Flows()))"),
    "__iter__": case("Flows.__iter__", "Flows.__iter__", "list(Flows()); [*MoreFlows()]"),
    "generator": case("generator", "generator", "list(generator(1)); sum(generator(1, b=3))"),
    "generator method": case(
        "Flows.generator",
        "Flows.generator; Flows().generator; MoreFlows().generator",
        "list(Flows().generator()); list(MoreFlows().generator())",
    ),
    "async generator": case(
        "async_generator", "async_generator", "run(gather(async_generator(1)))"
    ),
    "async generator method": case(
        "Flows.async_generator",
        "Flows.async_generator; Flows().async_generator",
        "run(gather(MoreFlows().async_generator()))",
    ),
    "types.coroutine": case(
        "generator_coroutine", "generator_coroutine", "run(wait_for(generator_coroutine(2)))"
    ),
}
REFUSED = {
    "Thing.dispatch": "descriptor",
    "Thing.Nested": "class",
    "Thing.number_of_them": "no 'number_of_them'",
    "FromC.fromkeys": "descriptor",
    "T": "cannot be called",
}


class World:
    """A module of programs/, executed once more; `import` finds it while the world is entered."""

    def __init__(self, name: str = "callables") -> None:
        self.name = name
        spec = importlib.util.spec_from_file_location(name, PROGRAMS / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        self.module: ModuleType = importlib.util.module_from_spec(spec)
        with self.entered():
            spec.loader.exec_module(self.module)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This world is the real one."""
        before = sys.modules.get(self.name)
        sys.modules[self.name] = self.module
        try:
            yield
        finally:
            del sys.modules[self.name]
            if before is not None:
                sys.modules[self.name] = before

    def see(self, expression: str) -> Any:
        """What the expression gives in the module. Raises what it raises."""
        return eval(expression, {**HELPERS, **vars(self.module)})


class Measured(World):
    """The same with one target measured."""

    def __init__(
        self, recording: Recording, target: str, meter: str = "counts", name: str = "callables"
    ) -> None:
        super().__init__(name)
        self.recording = recording
        self.target = target
        made = Meter(recording.recorder(), **METERS[meter])
        found = Patcher(recording.proxy, recording.probes).patch(self.module, target, made)
        assert found is not None
        self.patch: Patch = found

    @property
    def calls(self) -> int:
        """How many calls of the target ended."""
        return self.recording.calls()


async def use(manager: Any) -> Any:
    """Enter an asynchronous context manager."""
    async with manager as entered:
        return entered


async def wait_for(awaitable: Any) -> Any:
    """What comes of it."""
    return await awaitable


async def gather(asynchronous: Any) -> list[Any]:
    """All that it yields."""
    return [each async for each in asynchronous]


HELPERS = {"run": asyncio.run, "use": use, "wait_for": wait_for, "gather": gather}


def outcome(function: Callable[..., Any], *args: Any) -> Any:
    """What came of a call, in words that are the same in every world."""
    try:
        return "returned", told(function(*args))
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is compared
        return raised(error)


def raised(error: BaseException | None) -> Any:
    """The whole of an exception, with what led to it."""
    if error is None:
        return None
    return (
        "raised",
        type(error).__qualname__,
        told(error.args),
        raised(error.__context__),
        raised(error.__cause__),
        error.__suppress_context__,
    )


def told(value: Any) -> str:
    """A value in words, without addresses."""
    return re.sub(r"0x[0-9a-f]+|id='\d+'", "0x", repr(value))
