"""Starts to measure a program that was not started by tach: the part that runs in it."""

from __future__ import annotations

from tach.agent import proxy, respawn, session


def start(run_dir: str, wrapt: str, python: str) -> str:
    """Measure this process; why it cannot be, nothing if it is. As for `tach.agent.enter`."""
    if session.active is not None:
        return "it is measured by tach already"
    proxy.elsewhere[:] = [wrapt]
    if not proxy.is_there():
        return "it cannot import wrapt"
    respawn.python = python
    return session.attach(run_dir)
