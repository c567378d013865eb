"""Measure the functions of an unmodified Python program.

Kept free of imports: it is loaded inside every measured program.
"""

__version__ = "1.0.0.dev0"
