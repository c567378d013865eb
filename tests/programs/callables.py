"""Callables of every kind that Python knows, to be compared measured and not measured."""

import abc
import asyncio
import contextlib
import dataclasses
import enum
import functools
import inspect
import logging
import math
import sys
import traceback
import types
import typing
import warnings
import weakref

T = typing.TypeVar("T")


# a comment on function
def function(a, b: int = 2, *args: int, c: "int" = 3, **kwargs: typing.Any) -> tuple:
    """Say what came in."""
    return a, b, args, c, kwargs


function.attribute = "of function"
shortened = lambda a, b=2: (a, b)  # noqa: E731


def make_closure(start):
    count = start

    def closure(step: int = 1) -> int:
        """Count."""
        nonlocal count
        count += step
        return count + len(function.__name__)

    return closure


closure = make_closure(10)


def fails(error, *_args, **_kwargs):
    raise error


def decorate(wrapped):
    @functools.wraps(wrapped)
    def wrapper(*args, **kwargs):
        return "decorated", wrapped(*args, **kwargs)

    return wrapper


@decorate
def decorated(a: int, b: str = "b") -> str:
    """Be decorated."""
    return f"{a}{b}"


def whole(a, b=2, *args, c=3):
    return a, b, args, c


partial = functools.partial(whole, 1, c=4)
held = {"function": function}


@functools.singledispatch
def dispatched(value):
    """Depend on the class."""
    return "something", value


@dispatched.register(int)
def _(value):
    return "number", value


@functools.lru_cache(maxsize=8)
def cached(number: int) -> list:
    """Remember."""
    return [number]


from_c = math.hypot


class Thing:
    """A class with methods of every kind."""

    def __init__(self, number: int = 7) -> None:
        """Make one."""
        self.number = number

    def method(self, a: int, *, b: int = 2) -> tuple:
        """Say who and what."""
        return type(self).__name__, self.number, a, b

    def inherited(self, a: int = 1) -> tuple:
        """Be inherited."""
        return type(self).__name__, a

    @classmethod
    def of_class(cls, a: int = 1) -> tuple:
        """Say of which class."""
        return cls.__name__, a

    @staticmethod
    def static(a: int = 1) -> int:
        """Know of no class."""
        return a

    def __private(self, a=1):
        return "private", a

    def call_private(self):
        return self.__private(5)

    @property
    def exact(self) -> int:
        """Say a number."""
        return self.number + 1

    @exact.setter
    def exact(self, value: int) -> None:
        self.number = value

    @functools.cached_property
    def once(self) -> list:
        """Be computed once."""
        return [self.number]

    part = functools.partialmethod(method, 1, b=5)

    @functools.singledispatchmethod
    def dispatch(self, value):
        return "something", value

    @functools.lru_cache(maxsize=8)  # noqa: B019
    def cached_method(self, a: int = 1) -> list:
        """Remember for each."""
        return [a]

    @decorate
    def decorated_method(self, a: int = 1) -> int:
        """Be a decorated method."""
        return a

    def __call__(self, a: int, b: int = 2) -> tuple:
        """Be called."""
        return self.number, a, b

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Thing) and other.number == self.number

    def __hash__(self) -> int:
        return hash(self.number)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.number})"

    def __enter__(self):
        return "entered", self.number

    def __exit__(self, kind, error, trace):
        return kind is LookupError

    def __len__(self):
        return self.number

    def __getitem__(self, key):
        return key * 2

    def __iter__(self):
        return iter(range(self.number))

    def __add__(self, other):
        return self.number + other

    def __class_getitem__(cls, key):
        return cls.__name__, key

    def __init_subclass__(cls, tag: str = "none", **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls.tag = tag

    class Nested:
        def method(self, a=1):
            """Be deep inside."""
            return "nested", a


class Further(Thing, tag="further"):
    def method(self, a: int, *, b: int = 3) -> tuple:
        """Say more."""
        return ("further", *super().method(a, b=b))

    @classmethod
    def of_class(cls, a=2):
        return ("further", *super().of_class(a))


class Last(Further):
    pass


class Made:
    def __new__(cls, number=1):
        """Make it so."""
        self = super().__new__(cls)
        self.number = number
        return self


instance = Thing(3)


class FromC(dict):
    """Has methods written in C."""


class Number(int):
    pass


class Slotted:
    __slots__ = ("__weakref__", "number")

    def __init__(self, number=1):
        self.number = number

    def method(self, a=1):
        return self.number, a


class Meta(type):
    def __call__(cls, *args):
        return "made", super().__call__(*args)

    def of_meta(cls, a=1):
        """Be a method of a class."""
        return cls.__name__, a

    @property
    def meta_property(cls):
        return cls.__name__


class OfMeta(metaclass=Meta):
    def __repr__(self):
        return "OfMeta()"


class Abstract(abc.ABC):
    @abc.abstractmethod
    def must(self, a=1):
        """Be there."""
        return "abstract", a

    @property
    @abc.abstractmethod
    def must_property(self):
        """Be a property."""
        return "abstract"


class Concrete(Abstract):
    def must(self, a=2):
        return "concrete", super().must(a)

    @property
    def must_property(self):
        return "concrete", super().must_property


class Proto(typing.Protocol):
    def speak(self, a: int = 1) -> tuple:
        """Be a protocol."""
        return type(self).__name__, a


Proto = typing.runtime_checkable(Proto)


class Speaker(Proto):
    pass


class Box(typing.Generic[T]):
    def __init__(self, item: T) -> None:
        self.item = item

    def get(self, default: T | None = None) -> T:
        """Take it out."""
        return self.item if default is None else default


@dataclasses.dataclass(order=True)
class Point:
    x: int
    y: int = 2

    def scaled(self, by: int = 2) -> "Point":
        """Be larger."""
        return dataclasses.replace(self, x=self.x * by, y=self.y * by)


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: int

    def plus(self, number: int = 1) -> "Frozen":
        return Frozen(self.x + number)


class Colour(enum.Enum):
    RED = 1
    BLUE = 2

    def shade(self, a=1):
        """Be darker."""
        return self.name, a

    @classmethod
    def default(cls):
        return cls.BLUE

    @classmethod
    def _missing_(cls, value):
        return cls.RED if value == "none" else None


class Pair(typing.NamedTuple):
    left: int
    right: int = 2

    def total(self, more: int = 0) -> int:
        """Add up."""
        return self.left + self.right + more


class Text(str):
    pass


async def coroutine(a: int, b: int = 2) -> tuple:
    """Be awaited."""
    return a, b


async def coroutine_fails(error):
    raise error


def generator(a: int, b: int = 2) -> typing.Iterator[int]:
    """Be iterated."""
    received = yield a
    yield b
    return received


async def async_generator(a: int, b: int = 2) -> typing.AsyncIterator[int]:
    """Be iterated and awaited."""
    yield a
    yield b


@types.coroutine
def generator_coroutine(a=1):
    """Be both."""
    yield from ()
    return a


@contextlib.contextmanager
def manager(a=1):
    """Be entered."""
    yield a


@contextlib.asynccontextmanager
async def async_manager(a=1):
    """Be entered and awaited."""
    yield a


class Flows:
    async def coroutine(self, a: int = 1) -> tuple:
        """Be awaited."""
        return type(self).__name__, a

    def generator(self, a: int = 1):
        """Be iterated."""
        yield type(self).__name__
        return a

    async def async_generator(self, a: int = 1):
        """Be both."""
        yield type(self).__name__
        yield a

    @classmethod
    async def of_class(cls, a=1):
        return cls.__name__, a

    @staticmethod
    async def static(a=1):
        return a

    async def __aenter__(self):
        return "entered"

    async def __aexit__(self, kind, error, trace):
        return kind is LookupError

    def __await__(self):
        yield from ()
        return "awaited"

    def __iter__(self):
        yield 1
        yield 2

    async def __aiter_(self):
        yield 3


class MoreFlows(Flows):
    async def coroutine(self, a: int = 1) -> tuple:
        return "more", await super().coroutine(a)

    def generator(self, a: int = 1):
        found = yield from super().generator(a)
        return "more", found


# What looks at its caller


def warns(level, category=UserWarning):
    warnings.warn("look", category, stacklevel=level)


def logs(level):
    logging.getLogger("callables").warning("look", stacklevel=level)


def caller():
    return sys._getframe(1).f_code.co_name


def stack():
    return [frame.function for frame in inspect.stack()]


def warns_in_steps(level):
    warnings.warn("look", stacklevel=level)
    yield 1


async def warns_later(level):
    warnings.warn("look", stacklevel=level)


def depth(limit):
    """How deep a recursion gets."""
    try:
        return depth(limit + 1)
    except RecursionError:
        return limit


def deep_generator(limit):
    yield limit
    yield from deep_generator(limit + 1)


def raises_from(error, cause):
    raise error from cause


def handles(error):
    try:
        raise error
    except Exception:  # noqa: BLE001
        return sys.exc_info()[1] is error, len(traceback.extract_tb(error.__traceback__))


def current():
    """What is being handled where it is called."""
    return sys.exc_info()[1]


def raises_while_handling(error):
    raise error


def nested(count):
    """Raise at the end of so many calls."""
    return nested(count - 1) if count else 1 / 0


def nested_generator(count):
    if not count:
        yield 1 / 0
    yield from nested_generator(count - 1)


async def nested_coroutine(count):
    return await nested_coroutine(count - 1) if count else 1 / 0


class Kept:
    pass


def forgets(kept):
    """Whether its argument is still there when it has let it go."""
    weak = weakref.ref(kept)
    del kept
    return weak() is not None


async def ticks(number, log, pause=0.001):
    """Do something that takes its time."""
    try:
        for each in range(number):
            await asyncio.sleep(pause)
            log.append(each)
        return number
    except BaseException as error:
        log.append(type(error).__name__)
        raise


async def ticking(number):
    """Give something from time to time."""
    try:
        for each in range(number):
            await asyncio.sleep(0)
            yield each
    finally:
        await asyncio.sleep(0)


async def sleeps(sleep, number, got):
    """Wait for a while, and say so."""
    await sleep(number / 1000 if number < 1000 else 60)
    got.append(number)
