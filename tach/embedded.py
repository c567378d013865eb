"""`python -m tach.embedded CONFIG PID [ARG...]`: makes the run of a process that asks for one.

Prints the run's directory, or (exit status 2) what is wrong with the configuration.
"""

from __future__ import annotations

import os
import sys

from tach import compiled, launcher, rundir


def main(config: str, pid: int, argv: list[str]) -> int:
    """Make the run and leave its sender behind."""
    from tach.config import ConfigErrors

    try:
        configuration = compiled.load(config)
        if not configuration.agent["targets"]:
            return 0
        program = os.path.basename(argv[0]).removesuffix(".py") if argv else "python"
        run = rundir.create(configuration, pid, program, argv)
        launcher.leave_sender(run)
    except (ConfigErrors, OSError) as error:
        print(error)
        return 2
    print(run.directory)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
