"""The layout of a segment: what one process records, in memory that outlives it.

A segment is a file of 64-bit words in native byte order. Page 0 is the header; cells of 1 KiB
follow, 16 to an extent, an extent holding either entries or blocks. An entry describes one series
(the calls of a target, or of those with one name; one error class, or one quantity of them) and
holds its totals; a block holds 128 buckets of its histogram (`tach.histogram` says which). A reader
needs no lock: an entry is complete before the header's FIRST (or an entry's NEXT) leads to it, and
all totals only ever grow. Of what runs now (ACTIVE to SLOTS) the reader takes the peak, and sets it
back.

Offsets of cells are in bytes from the start of the file; 0 means none. The other numbers here are
indexes of words.
"""

from __future__ import annotations

import marshal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAGIC = 0x5441434853454731  # "TACHSEG1"
VERSION = 3

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
H_NEWS = 7  # not 0: the sender has changed the plan; the process sets it back, then reads it
H_PROGRAM = 8
H_PROGRAM_LIMIT = 256

# an entry of KIND_RUNTIME, beside its name
R_BEAT = 32  # when its heart last beat (monotonic nanoseconds); 0: it rests
R_EVERY = 33  # the nanoseconds between two beats
R_TIMERS = 35  # what is waited for; 34, an entry's E_MAX, stays free
R_READERS = 36
R_WRITERS = 37
R_TASKS = 38

# an entry
E_NEXT = 0  # the entry made before this one
E_KIND = 1
E_TARGET = 2  # index of the target in the plan
E_PARENT = 3  # of an error class or a quantity: the entry of its calls
E_NAME_BYTES = 4
E_NAME = 5  # of calls: the series' name if it is not the target's; else that of class or quantity
E_NAME_LIMIT = 200
E_TAKEN = 30  # which slots the process itself has taken, a bit each
E_SUM = 32  # nanoseconds; of a number: a double, as are the next two
E_MIN = 33
E_MAX = 34
E_ERRORS = 35
E_CANCELLED = 36
E_IGNORED = 37
E_COUNT = 38  # of an error class: how often it was raised
E_ACTIVE = 39  # calls running now
E_PEAK = 40  # the greatest number of them since the reader last set it back
E_CROWD = 41  # those of them that found no slot
E_CROWD_STARTS = 42  # the sum of their starts, in CROWD_UNIT
E_SLOTS = 43  # when calls that run now started (monotonic nanoseconds); 0: free
SLOTS = 20
CROWD_UNIT = 1_000_000  # nanoseconds: sums of whole ones would not fit where the host is up long
E_LAST = 63  # of a number: the latest, a double
E_BLOCKS = 64  # offset of the block of each bit length
BLOCKS = 56
LOWEST_BLOCK = 7

KIND_CALLS = 1
KIND_ERROR_CLASS = 2
KIND_DURATION = 3  # a quantity in nanoseconds
KIND_NUMBER = 4  # a quantity without a unit, its histogram in millionths
NUMBER_UNITS = 1_000_000
KIND_RUNTIME = 5  # a hub or event loop, or the garbage collector; E_NAME says which
NO_TARGET = (1 << 32) - 1

ERROR_CLASSES = 20  # distinct classes told apart for one series; the rest is OTHER
OTHER = "other"

# the run directory
AGENT_PLAN = "agent.plan"  # `tach.agent.plan_log` says what is in it
RUN = "run"
BOOTSTRAP = "bootstrap"
JOURNAL = "journal"
WAKE = "wake"
FLUSHED = "flushed"
SENDER_LOCK = "sender.lock"
WITHDRAWN = "withdrawn"  # nobody has come, and nobody will: the sender may end
ATTACH_SCRIPT = "attach.py"  # `tach.agent.enter` says what it is, and knows the other two
ATTACH_WANTED = "attach.wanted"
ATTACH_ANSWER = "attach.answer"
SENDER_LOG = "sender.log"
SEGMENT_SUFFIX = ".segment"
STATUS_REQUEST = "status-{}.request"  # with a random id; the sender puts the answer beside it
STATUS_ANSWER = "status-{}.json"
RELOAD_REQUEST = "reload-{}.request"  # likewise
RELOAD_ANSWER = "reload-{}.json"


_RECORD_LENGTH = 8  # bytes, little end first, before what marshal makes of the record


def packed(record: dict[str, Any]) -> bytes:
    """A record of the plan as it lies in the file."""
    data = marshal.dumps(record, 2)  # 2: every Python reads it
    return len(data).to_bytes(_RECORD_LENGTH, "little") + data


def whole_records(data: bytes) -> list[tuple[dict[str, Any], int]]:
    """The records in `data`, and where each of them ends; one without its end is left out."""
    found = []
    start = 0
    while start + _RECORD_LENGTH <= len(data):
        body = start + _RECORD_LENGTH
        end = body + int.from_bytes(data[start:body], "little")
        if end > len(data):
            break
        found.append((marshal.loads(data[body:end]), end))
        start = end
    return found


def pad(text: str, limit: int) -> bytes:
    """The text as at most `limit` bytes of UTF-8, filled up to whole words."""
    data = text.encode("utf-8", "replace")[:limit]
    return data + b"\0" * (-len(data) % WORD)
