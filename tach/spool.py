"""The format of spool files: events as the program wrote them, until a receiver has confirmed them.

A file holds records one behind the other, each added by one write: a head and a body. Both sides of
the run read this, and so does whoever finds the file after a reboot. A reader that meets bytes
which are no record looks for the next MAGIC.
"""

from __future__ import annotations

from struct import Struct
from zlib import crc32

HEAD = Struct("<4sII")  # magic, length of the body, crc32 of all that follows
REST = Struct("<B3xQ")  # kind, number of the call; then the body
MAGIC = b"\x89tE1"

# kinds
START = 1  # a call has begun
END = 2  # the call of that number has ended, normally or not
SINGLE = 3  # an event without a call

SUFFIX = ".spool"
BODY_LIMIT = 1 << 20


def pack(kind: int, call: int, body: bytes) -> bytes:
    """One record."""
    rest = REST.pack(kind, call)
    return HEAD.pack(MAGIC, len(body), crc32(body, crc32(rest))) + rest + body
