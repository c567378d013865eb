"""What runs inside the measured program: shared memory and single writes, nothing else.

Nothing here may raise into the program, start a thread, take a lock, or import a module that the
program might want to patch first.
"""

# where errors of the agent's own come up: in its modules, and where it imports them
_OURS = (__file__.rpartition("/")[0], "<frozen importlib")


def is_of_the_program(error: Exception) -> bool:
    """Whether it was raised outside the agent: by a signal handler that ran in between.

    One runs here all the same where another thread took the signal.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and not trace.tb_frame.f_code.co_filename.startswith(_OURS)
