"""What runs inside the measured program: shared memory and single writes, nothing else.

Nothing here may raise into the program, start a thread, take a lock, or import a module that the
program might want to patch first.
"""
