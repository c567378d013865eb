"""Checks of options that several notifiers have."""

from __future__ import annotations


def host(value: str) -> str:
    """The name or address of a host; ValueError if it cannot be one."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"host {value!r} must be a name or an address")
    try:
        value.encode("idna")
    except UnicodeError as error:
        raise ValueError(f"host {value!r} cannot be the name of a host: {error}") from None
    return value


def within(option: str, value: float, least: float, most: float) -> float:
    """The number; ValueError if it is none or not from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{option} {value!r} must be a number")
    if not least <= value <= most:
        raise ValueError(f"{option} {value!r} must be from {least:g} to {most:g}")
    return value
