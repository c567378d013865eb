"""What is raised where a measured call needs more than the program has left: frames, or memory."""

from __future__ import annotations

# the call is made as without tach, and not counted; the next one may be
EXHAUSTED = (RecursionError, MemoryError)
