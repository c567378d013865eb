"""The layout of a segment: what one process records, in memory that outlives it.

A segment is a file of 64-bit words in native byte order. Page 0 is the header; cells of 1 KiB
follow, 16 to an extent, an extent holding either entries or blocks. An entry describes one series
(a target, or one error class of it) and holds its totals; a block holds 128 buckets of its
histogram (`tach.histogram` says which). Everything only ever grows; a reader needs no lock: an
entry is complete before the header's FIRST (or an entry's NEXT) leads to it.

Offsets of cells are in bytes from the start of the file; 0 means none. The other numbers here are
indexes of words.
"""

from __future__ import annotations

MAGIC = 0x5441434853454731  # "TACHSEG1"
VERSION = 1

WORD = 8
HEADER_BYTES = 4096
CELL_BYTES = 1024
CELL_WORDS = CELL_BYTES // WORD
CELLS_PER_EXTENT = 16
EXTENT_BYTES = CELL_BYTES * CELLS_PER_EXTENT
FIRST_REGION_BYTES = 1 << 20  # each further mapping is twice as large

# the header
H_MAGIC = 0
H_VERSION = 1
H_PID = 2
H_START_TICKS = 3  # /proc/PID/stat field 22: with the pid it names a process for good
H_CREATED = 4  # monotonic nanoseconds
H_FIRST = 5  # the newest entry
H_PROGRAM_BYTES = 6
H_PROGRAM = 8
H_PROGRAM_LIMIT = 256

# an entry
E_NEXT = 0  # the entry made before this one
E_KIND = 1
E_TARGET = 2  # index of the target in the plan
E_PARENT = 3  # of an error class: the entry of the calls that raised it
E_NAME_BYTES = 4
E_NAME = 5  # of an error class: its name
E_NAME_LIMIT = 200
E_SUM = 32  # nanoseconds
E_MIN = 33
E_MAX = 34
E_ERRORS = 35
E_CANCELLED = 36
E_IGNORED = 37
E_COUNT = 38  # of an error class: how often it was raised
E_BLOCKS = 64  # offset of the block of each bit length
BLOCKS = 56
LOWEST_BLOCK = 7

KIND_CALLS = 1
KIND_ERROR_CLASS = 2

ERROR_CLASSES = 20  # distinct classes told apart for one series; the rest is OTHER
OTHER = "other"

# the run directory
AGENT_PLAN = "agent.plan"
RUN = "run"
BOOTSTRAP = "bootstrap"
JOURNAL = "journal"
WAKE = "wake"
FLUSHED = "flushed"
SENDER_LOCK = "sender.lock"
SENDER_LOG = "sender.log"
SEGMENT_SUFFIX = ".segment"


def pad(text: str, limit: int) -> bytes:
    """The text as at most `limit` bytes of UTF-8, filled up to whole words."""
    data = text.encode("utf-8", "replace")[:limit]
    return data + b"\0" * (-len(data) % WORD)
