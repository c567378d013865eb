"""Makes the run of a process that asks for one with `tach.install()`; a program of its own.

Prints the run's directory, or (exit status 2) what is wrong with the configuration.
"""

from __future__ import annotations

import os

from tach import compiled, launcher, rundir


def main(arguments: list[str]) -> int:
    """Make the run of CONFIG PID [ARG...] and leave its sender behind."""
    from tach.config import ConfigErrors

    config, pid, *argv = arguments
    try:
        configuration = compiled.load(config)
        if not configuration.is_wanted:
            return 0
        program = os.path.basename(argv[0]).removesuffix(".py") if argv else "python"
        run = rundir.create(configuration, int(pid), program, argv)
        launcher.leave_sender(run)
    except (ConfigErrors, OSError) as error:
        print(error)
        return 2
    print(run.directory)
    return 0
