"""Which functions tach measures, how it takes hold of them, and how it lets go again."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import ctypes
import dataclasses
import enum
import functools
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recording import Recording

from tach.agent.meter import Meter
from tach.agent.patching import CannotPatch, Patch, Patcher

SOURCE = '''
class Base:
    def method(self, number=1): return type(self).__name__, number
    def inherited(self): return type(self).__name__
    def with_super(self): return "base"
    @classmethod
    def of_class(cls): return cls.__name__
    @staticmethod
    def static(number=1): return number
    def __private(self): return "private"
    def call_private(self): return self.__private()
    class Nested:
        class Deeper:
            def method(self): return "deep"

class Sub(Base):
    def with_super(self): return "sub of " + super().with_super()

class Third(Sub): pass

class Special:
    def __init__(self, number): self.number = number
    def __call__(self, more): return self.number + more
    def __eq__(self, other): return self.number == other
    def __len__(self): return self.number
    def __enter__(self): return "entered"
    def __exit__(self, *_): return None
    def __new__(cls, number): return super().__new__(cls)

class Slotted:
    __slots__ = ("number",)
    def method(self): return "slotted"

def function(*args, **kwargs):
    """Its text."""
    return args, kwargs
'''


class Patching:
    """A module made of SOURCE (and more), and the calls of what is patched in it."""

    def __init__(self, recording: Recording) -> None:
        self.module = types.ModuleType("a_module")
        exec(SOURCE, vars(self.module))
        self.recording = recording
        self.series: dict[str, int] = {}
        self.recorders: dict[str, Any] = {}

    def patch(self, qualname: str) -> Patch | None:
        """Measure `qualname` of the module."""
        if qualname not in self.recorders:
            self.series[qualname] = len(self.series)
            self.recorders[qualname] = self.recording.recorder(self.series[qualname])
        patcher = Patcher(self.recording.proxy, self.recording.probes)
        return patcher.patch(self.module, qualname, Meter(self.recorders[qualname]))

    def calls(self, qualname: str) -> int:
        """How often it has been called."""
        return self.recording.calls(self.series[qualname])


@pytest.fixture(params=("pure", "compiled"))
def patching(tmp_path: Path, request: pytest.FixtureRequest) -> Patching:
    """A fresh module to patch."""
    return Patching(Recording(tmp_path, request.param))


def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
    """As decorators do it."""

    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return "decorated", function(*args)

    return wrapper


USES: dict[str, Callable[[Any], Any]] = {
    "function": lambda m: m.function(1, self=2),
    "Base.method": lambda m: m.Base().method(2),
    "Base.inherited": lambda m: m.Sub().inherited(),
    "Base.with_super": lambda m: m.Sub().with_super(),
    "Sub.with_super": lambda m: m.Sub().with_super(),
    "Sub.inherited": lambda m: m.Third().inherited(),
    "Base.of_class": lambda m: m.Sub.of_class(),
    "Sub.of_class": lambda m: m.Third().of_class(),
    "Base.static": lambda m: m.Base.static(3),
    "Sub.static": lambda m: m.Sub().static(4),
    "Base._Base__private": lambda m: m.Sub().call_private(),
    "Base.Nested.Deeper.method": lambda m: m.Base.Nested.Deeper().method(),
    "Special.__init__": lambda m: m.Special(3).number,
    "Special.__new__": lambda m: m.Special(3).number,
    "Special.__call__": lambda m: m.Special(3)(4),
    "Special.__eq__": lambda m: m.Special(3) == 4,
    "Special.__len__": lambda m: len(m.Special(3)),
    "Special.__enter__": lambda m: contextlib.ExitStack().enter_context(m.Special(3)),
    "Slotted.method": lambda m: m.Slotted().method(),
}


@pytest.mark.parametrize("qualname", USES)
def test_functions_of_each_kind_give_what_they_gave(qualname: str, patching: Patching) -> None:
    """Each kind of function is measured once a call and returns what it does bare."""
    use = USES[qualname]
    bare = use(patching.module)

    assert patching.patch(qualname) is not None
    assert use(patching.module) == bare
    assert patching.calls(qualname) == 1


@pytest.mark.parametrize("qualname", USES)
def test_undo_restores_exactly(qualname: str, patching: Patching) -> None:
    """After undo the namespaces hold the very objects that they held before, and no others."""
    *path, name = qualname.split(".")
    owner = functools.reduce(getattr, path, patching.module)
    before = dict(vars(owner))

    patched = patching.patch(qualname)

    assert patched is not None
    assert vars(owner)[name] is not before.get(name)
    assert patched.undo()
    assert {key: id(value) for key, value in vars(owner).items()} == {
        key: id(value) for key, value in before.items()
    }
    USES[qualname](patching.module)
    assert patching.calls(qualname) == 0


def test_the_base_of_an_inherited_method_stays_as_it_is(patching: Patching) -> None:
    """Measuring Sub.inherited touches neither Base nor the calls of other subclasses."""
    raw = vars(patching.module.Base)["inherited"]

    patching.patch("Sub.inherited")
    patching.module.Base().inherited()

    assert vars(patching.module.Base)["inherited"] is raw
    assert patching.calls("Sub.inherited") == 0


def test_a_method_called_through_its_class(patching: Patching) -> None:
    """Class.method(instance) and a bound method that is kept are measured."""
    patching.patch("Base.method")
    base = patching.module.Base()
    bound = base.method

    assert patching.module.Base.method(base, 5) == ("Base", 5)
    assert bound(6) == ("Base", 6)
    assert isinstance(bound, types.MethodType)
    assert bound.__self__ is base
    assert patching.calls("Base.method") == 2


def test_a_probe_looks_like_its_function(patching: Patching) -> None:
    """Name, text, signature, code, type and attributes are those of the function."""
    import inspect

    function = patching.module.function
    function.attribute = 1
    patching.patch("function")
    probe = patching.module.function

    assert probe is not function
    assert isinstance(probe, types.FunctionType)
    assert inspect.isfunction(probe)
    assert inspect.signature(probe) == inspect.signature(function)
    assert (probe.__name__, probe.__qualname__, probe.__doc__) == ("function",) * 2 + ("Its text.",)
    assert probe.__code__ is function.__code__
    assert (probe == function, hash(probe) == hash(function)) == (True, True)
    assert repr(type(probe.attribute)) == "<class 'int'>"
    probe.attribute = 2
    assert function.attribute == 2


def test_patching_twice_patches_once(patching: Patching) -> None:
    """A target that is patched already is left alone, whatever else measures it."""
    assert patching.patch("function") is not None
    assert patching.patch("function") is None
    patching.module.other = patching.module.function
    assert patching.patch("other") is not None
    assert patching.patch("other") is None
    patching.module.function = patching.module.other
    assert patching.patch("function") is None
    patching.module.function()

    assert (patching.calls("function"), patching.calls("other")) == (1, 1)


def test_several_targets_on_one_function(patching: Patching) -> None:
    """A function that three targets mean counts for each, and is bare again after their undo."""
    recorders = [patching.recording.recorder(number) for number in range(3)]
    bare = patching.module.function
    patches = [
        Patcher(patching.recording.proxy, patching.recording.probes).patch(
            patching.module, "function", Meter(recorder)
        )
        for recorder in recorders
    ]
    patching.module.function()

    assert [patching.recording.calls(number) for number in range(3)] == [1, 1, 1]
    assert [each.undo() for each in reversed(patches) if each] == [True] * 3
    assert patching.module.function is bare


def test_who_wrapped_a_probe_keeps_his_wrapper(patching: Patching) -> None:
    """Where somebody has put his own around the probe, that stays, and the probe is disabled."""
    patched = patching.patch("function")
    mine = patching.module.function = decorate(patching.module.function)

    assert patched is not None
    patching.module.function()
    assert patched.undo() is False
    assert patching.module.function is mine
    patching.module.function()
    assert patching.calls("function") == 1


def test_a_metaclass_that_guards_its_classes(patching: Patching) -> None:
    """A metaclass with its own __setattr__ and __delattr__ is not asked."""

    class Guard(type):
        def __setattr__(cls, name: str, value: object) -> None:
            raise TypeError("hands off")

        def __delattr__(cls, name: str) -> None:
            raise TypeError("hands off")

        def __getattribute__(cls, name: str) -> Any:
            raise AssertionError("asked")

    class Guarded(metaclass=Guard):
        def method(self) -> int:
            return 1

    patching.module.Guarded = Guarded
    patched = patching.patch("Guarded.method")

    assert Guarded().method() == 1
    assert patched is not None
    assert patching.calls("Guarded.method") == 1


def test_classes_of_a_metaclass_written_in_c(patching: Patching) -> None:
    """Methods of ctypes structures are measured, and restored."""

    class Point(ctypes.Structure):
        _fields_ = (("x", ctypes.c_int),)

        def method(self) -> int:
            return int(self.x)

    class Further(Point):
        pass

    patching.module.Further = Further
    patched = patching.patch("Further.method")

    assert Further(3).method() == 3
    assert patching.calls("Further.method") == 1
    assert patched is not None
    assert patched.undo()
    assert "method" not in vars(Further)


def test_methods_of_enums_dataclasses_and_abstract_classes(patching: Patching) -> None:
    """Enum, dataclass and abstract methods are measured, and stay what they were."""

    class Colour(enum.Enum):
        RED = 1

        def shade(self) -> str:
            return self.name

    @dataclasses.dataclass
    class Data:
        number: int

        def method(self) -> int:
            return self.number

    class Abstract(abc.ABC):
        @abc.abstractmethod
        def method(self) -> str:
            return "abstract"

    patching.module.Colour, patching.module.Data, patching.module.Abstract = Colour, Data, Abstract
    for qualname in ("Colour.shade", "Data.method", "Data.__init__", "Abstract.method"):
        patching.patch(qualname)

    class Concrete(Abstract):
        def method(self) -> str:
            return super().method()

    class Still(Abstract):
        pass

    assert Colour.RED.shade() == "RED"
    assert list(Colour) == [Colour.RED]
    assert Data(3).method() == 3
    assert Concrete().method() == "abstract"
    with pytest.raises(TypeError, match="abstract"):
        Still()  # type: ignore[abstract]
    for qualname in ("Colour.shade", "Data.method", "Data.__init__", "Abstract.method"):
        assert patching.calls(qualname) == 1


def test_decorated_functions(patching: Patching) -> None:
    """A function behind functools.wraps is measured with its decorator."""
    patching.module.function = decorate(lambda number: number)
    patching.patch("function")

    assert patching.module.function(3) == ("decorated", 3)
    assert patching.calls("function") == 1


def test_a_generic_function(patching: Patching) -> None:
    """What functools.singledispatch makes is a function: measured, and open for registration."""
    patching.module.generic = functools.singledispatch(lambda thing: "any")
    patching.patch("generic")
    patching.module.generic.register(int, lambda thing: "int")

    assert [patching.module.generic(each) for each in ("x", 1)] == ["any", "int"]
    assert patching.calls("generic") == 2


def test_a_class_in_the_place_of_a_module(patching: Patching) -> None:
    """A module may have put a class in its place: its functions are measured."""
    recorder = patching.recording.recorder()
    sub = patching.module.Sub

    Patcher(patching.recording.proxy, patching.recording.probes).patch(
        sub, "static", Meter(recorder)
    )

    assert sub.static(3) == 3
    assert patching.recording.calls() == 1


class Kinds:
    @functools.singledispatchmethod
    def generic(self, _: object) -> int:
        return 1

    write_only = property(None, lambda self, value: None)
    number = 3
    Nested = type("Nested", (), {})


def function() -> None:
    """Nothing."""


REFUSED: dict[str, tuple[str, object, str]] = {
    "singledispatchmethod": (
        "x.generic",
        Kinds,
        "it is a descriptor of type functools.singledispatchmethod: ",
    ),
    "property without a getter": ("x.write_only", Kinds, "it is a property without a getter"),
    "value": ("x.number", Kinds, "it is of type builtins.int, which cannot be called"),
    "class": ("x", Kinds, "it is a class; name a method of it, such as x.__init__"),
    "nested class": ("x.Nested", Kinds, "it is a class; name a method of it, such as its __init__"),
    "module": ("x", asyncio, "it is a module, "),
    "None": ("x", None, "it is of type builtins.NoneType, "),
    "C type": ("x.update", dict, "its class cannot be changed "),
    "through a function": ("x.y", function, "'x' is of type builtins.function, not a class"),
    "through a module": ("x.sleep", asyncio, "'x' is a module, not a class"),
    "object's __init__": ("x.__init__", Kinds, "the class has no __init__ of its own"),
    "object's __new__": ("x.__new__", Kinds, "the class has no __new__ of its own"),
    "class method of C": ("x.fromkeys", type("D", (dict,), {}), "it is a descriptor "),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_kinds_are_refused_and_left_alone(case: str, patching: Patching) -> None:
    """What tach does not measure it refuses, with a reason, and touches nothing."""
    qualname, found, reason = REFUSED[case]
    patching.module.x = found
    before = dict(vars(found)) if isinstance(found, type) else None

    with pytest.raises(CannotPatch) as caught:
        patching.patch(qualname)

    assert caught.value.state == "refused"
    assert caught.value.reason.startswith(reason)
    assert patching.module.x is found
    assert before is None or dict(vars(found)) == before  # type: ignore[call-overload]


def test_private_names_are_those_of_the_source(patching: Patching) -> None:
    """A method that its class calls `self.__private` is found by that name."""
    patching.patch("Base.__private")

    assert patching.module.Sub().call_private() == "private"
    assert patching.calls("Base.__private") == 1


MISSING = {
    "funktion": ("no 'funktion' in module a_module", "function"),
    "Base.metod": ("no 'metod' in class Base", "method"),
    "Third.inheritet": ("no 'inheritet' in class Third", "inherited"),
    "Base.__privat": ("no '__privat' in class Base", "_Base__private"),
    "Bas.method": ("no 'Bas' in module a_module", "Base"),
    "Base.Nestet.Deeper.method": ("no 'Nestet' in class Base", "Nested"),
}


@pytest.mark.parametrize("qualname", MISSING)
def test_missing_names_come_with_what_is_there(qualname: str, patching: Patching) -> None:
    """Of a missing name the part that is missing is told, and the names that could be meant."""
    reason, candidate = MISSING[qualname]

    with pytest.raises(CannotPatch) as caught:
        patching.patch(qualname)

    assert (caught.value.state, caught.value.reason) == ("missing", reason)
    assert candidate in caught.value.candidates


def test_nothing_of_the_program_runs_while_its_names_are_looked_up(patching: Patching) -> None:
    """Neither descriptors nor __getattr__ of a module or a class run to find a target."""

    class Loud:
        def __get__(self, *_: object) -> Any:
            raise AssertionError("ran")

    class Holder:
        loud = Loud()

    def getattr_(name: str) -> Any:
        raise AssertionError("ran")

    patching.module.Holder = Holder
    vars(patching.module)["__getattr__"] = getattr_

    for qualname in ("Holder.loud", "Holder.loud.method", "no_such_name"):
        with pytest.raises(CannotPatch):
            patching.patch(qualname)
