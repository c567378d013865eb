"""The names of Python things in a configuration: `package.module:Class.method`."""

from __future__ import annotations

SHAPE = "package.module:Class.method"


def is_dotted(text: str) -> bool:
    """Whether `text` is identifiers joined by dots."""
    return all(part.isidentifier() for part in text.split("."))


def is_function(text: str) -> bool:
    """Whether `text` has the shape `package.module:Class.method`."""
    module, _, qualname = text.partition(":")
    return is_dotted(module) and is_dotted(qualname)


def is_function_pattern(text: str) -> bool:
    """The same, where `*` and `?` may stand for parts of names."""
    return is_function(text.replace("*", "x").replace("?", "x"))


def guess(text: str) -> str | None:
    """What of that shape `text` was probably meant to be, None if nobody can tell.

    For example `pkg.mod:Class.method` of `pkg.mod.Class.method`, `pkg/mod.py:Class.method()`.
    """
    text = "".join(text.split()).removesuffix("()").replace("/", ".")
    module, colon, qualname = text.partition(":")
    module = module.removesuffix(".py")
    if not colon:
        module, qualname = _split(module)
    found = f"{module.strip('.')}:{qualname.replace(':', '.').strip('.')}"
    return found if is_function(found) else None


def _split(dotted: str) -> tuple[str, str]:
    """Where the colon should be: before the first class, else before the last name."""
    parts = dotted.split(".")
    classes = [index for index, part in enumerate(parts) if part[:1].isupper()]
    at = classes[0] if classes else len(parts) - 1
    return ".".join(parts[:at]), ".".join(parts[at:])


def advice_for(text: str) -> str:
    """What to write instead of a malformed `text`."""
    found = guess(text)
    return f"did you mean {found!r}?" if found else f"write it as {SHAPE}"
