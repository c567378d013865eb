"""Measure the functions of an unmodified Python program.

Kept free of imports: it is loaded inside every measured program.
"""

__all__ = ["__version__", "install", "uninstall"]
__version__ = "1.0.0.dev0"


def install(config: str) -> None:
    """Measure this process and what it forks as the configuration file says.

    For programs that start their own measurement; others are started by the command `tach`. Raises
    ValueError with all errors of the configuration, RuntimeError where tach is at work already.
    """
    from tach.agent import embed

    embed.install(config)


def uninstall() -> None:
    """Stop measuring this process: every function is again what it was."""
    from tach.agent import embed

    embed.uninstall()
