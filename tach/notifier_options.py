"""The options of a notifier: the keyword arguments of its class, by their annotations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from tach.durations import DURATION, SIZE, is_number, is_whole, seconds, size
from tach.problems import quoted, suggestion
from tach.yaml_nodes import is_null, line_of
from tach.yaml_values import BOOLEAN, Entry, Scalar, Values

NUMBER = f"a number or {DURATION}"
TAKES_ANY_KEYWORD = 0x08  # the flag that a code object has for **options


def read_options(
    cls: type[Any],
    entries: dict[str, Entry],
    where: str,
    line: int,
    values: Values,
    read: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The keyword arguments for `cls` that the entries give. What is wrong goes to `values`.

    `read` holds the options that need not be read any more.

    If the class has a class method `check`, it is called with them, and its ValueError is a problem
    at `line`. The class itself is not called: that may open connections.
    """
    reported = values.reported
    required, takes_any = parameters(cls)
    hints = _hints(cls)
    if not takes_any:
        entries = values.only(entries, where, list(required))
    options = dict(read or {})
    for name, is_required in required.items():
        if is_required and name not in entries and name not in options:
            values.report(line, where, f"the option {quoted(name)} is missing", "add it")
    for name, entry in entries.items():
        options[name] = _value(entry.node, hints.get(name, Any), f"{where}.{name}", values)
    if values.reported == reported:
        _check(cls, options, where, line, values)
    return options


def parameters(cls: type[Any]) -> tuple[dict[str, bool], bool]:
    """Each keyword argument with whether it must be given; whether any other is taken too.

    `inspect.signature` says the same, but importing inspect costs more than reading the whole file.
    """
    init: Any = cls.__init__
    code = getattr(init, "__code__", None)
    if code is None:
        return {}, False
    positional = code.co_varnames[: code.co_argcount]
    keyword_only = code.co_varnames[code.co_argcount :][: code.co_kwonlyargcount]
    with_default = positional[len(positional) - len(init.__defaults__ or ()) :]
    optional = {*with_default, *(init.__kwdefaults__ or ())}
    by_keyword = (*positional[max(1, code.co_posonlyargcount) :], *keyword_only)
    takes_any = bool(code.co_flags & TAKES_ANY_KEYWORD)
    return {name: name not in optional for name in by_keyword}, takes_any


def _hints(cls: type[Any]) -> dict[str, Any]:
    try:
        return get_type_hints(cls.__init__)
    except (AttributeError, NameError, TypeError):
        # Types that exist for type checkers only: then the YAML alone says what a value is.
        return {}


def _check(cls: type[Any], options: dict[str, Any], where: str, line: int, values: Values) -> None:
    """Report what the class finds wrong; of several options out of their bounds, each."""
    check: Callable[..., object] | None = getattr(cls, "check", None)
    if check is None:
        return
    rest = dict(options)
    while True:
        try:
            check(**rest)
            return
        except Exception as error:  # noqa: BLE001 - other people's code: no traceback may come out
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            text = " ".join(str(error).split())
        if kind and len(rest) < len(options):
            return  # what is left out was needed
        values.report(line, where, kind + (text or "its options are wrong"))
        name = text.partition(" ")[0]
        if name not in rest or " must be " not in text:
            return
        del rest[name]


def _value(node: yaml.Node, hint: Any, where: str, values: Values) -> Any:
    """The value as its annotation wants it; None after a problem."""
    kinds = _kinds(hint)
    if isinstance(node, yaml.MappingNode) and (inner := _inner(kinds, MAPPINGS)) is not None:
        entries = values.mapping(node, where) or {}
        return {k: _value(each.node, inner, f"{where}.{k}", values) for k, each in entries.items()}
    if isinstance(node, yaml.SequenceNode) and (inner := _inner(kinds, LISTS)) is not None:
        items = values.items(node, where, "a list") or []
        return [_value(each, inner, where, values) for each in items]
    if is_null(node) and (type(None) in kinds or Any in kinds):
        return None
    scalar = values.scalar(node, where, _expected(kinds))
    return None if scalar is None else _scalar_value(scalar, kinds, node, where, values)


def _scalar_value(
    scalar: Scalar, kinds: Sequence[Any], node: yaml.Node, where: str, values: Values
) -> Any:
    if Any in kinds:
        return _data(scalar)
    choices = _choices(kinds)
    if scalar.text in choices:
        return choices[scalar.text]
    for kind, convert in CONVERTERS.items():
        if kind in kinds:
            try:
                return convert(scalar)
            except ValueError:
                continue
    advice = suggestion(scalar.text, choices) if choices else ""
    if is_number(scalar.text) and not scalar.bare:
        advice = "leave the quotes out"
    what = f"expected {_expected(kinds)}, got {quoted(scalar.text)}"
    values.report(line_of(node), where, what, advice)
    return None


def _data(scalar: Scalar) -> bool | float | str:
    """What the scalar is by itself, where no annotation says what it should be."""
    if scalar.boolean is not None:
        return scalar.boolean
    if not scalar.bare or not is_number(scalar.text):
        return scalar.text
    return int(scalar.text) if is_whole(scalar.text) else float(scalar.text)


def _boolean(scalar: Scalar) -> bool:
    if scalar.boolean is None:
        raise ValueError
    return scalar.boolean


def _whole_number(scalar: Scalar) -> int:
    if is_whole(scalar.text) and not scalar.bare:
        raise ValueError
    return size(scalar.text)


def _number(scalar: Scalar) -> float:
    if is_number(scalar.text):
        if not scalar.bare:
            raise ValueError
        return float(scalar.text)
    return seconds(scalar.text)


def _text(scalar: Scalar) -> str:
    return scalar.text


# In this order, so that of `str | float` a number becomes a float.
CONVERTERS: dict[type, Callable[[Scalar], Any]] = {
    bool: _boolean,
    int: _whole_number,
    float: _number,
    str: _text,
}
WORDS = {bool: BOOLEAN, int: SIZE, float: NUMBER, str: "a text"}
LISTS = (list, tuple, set, frozenset, Sequence)
MAPPINGS = (dict, Mapping)


def _kinds(hint: Any) -> tuple[Any, ...]:
    """The alternatives of an annotation; Any for what is not known here."""
    if get_origin(hint) in (Union, UnionType):
        return tuple(kind for each in get_args(hint) for kind in _kinds(each))
    known = hint in WORDS or hint is type(None)
    known = known or (get_origin(hint) or hint) in (Literal, *LISTS, *MAPPINGS)
    return (hint,) if known else (Any,)


def _inner(kinds: Sequence[Any], collections: tuple[Any, ...]) -> Any:
    """The annotation of what is in such a collection; None if the alternatives hold none."""
    for kind in kinds:
        if (get_origin(kind) or kind) in collections:
            inner = [each for each in get_args(kind) if each is not Ellipsis]
            return inner[-1] if inner else Any
    return Any if Any in kinds else None


def _choices(kinds: Sequence[Any]) -> dict[str, Any]:
    literals = [kind for kind in kinds if get_origin(kind) is Literal]
    return {str(choice): choice for kind in literals for choice in get_args(kind)}


def _expected(kinds: Sequence[Any]) -> str:
    words = [WORDS[kind] for kind in kinds if kind in WORDS]
    words += [f"one of {', '.join(map(repr, choices))}"] if (choices := _choices(kinds)) else []
    words += ["a list"] if _inner(kinds, LISTS) not in (None, Any) else []
    words += ["a mapping"] if _inner(kinds, MAPPINGS) not in (None, Any) else []
    return " or ".join(words or ["a value"])
