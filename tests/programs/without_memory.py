"""Calls one function again and again, each time with another allocation of memory that fails.

Prints how the calls ended, and then that ten more have been made.
"""

import _testcapi
import collections


def function(argument):
    return argument


def named(argument):
    return argument


class Class:
    def method(self, argument):
        return argument


def generator(argument):
    yield argument


def fails(argument):
    raise argument


ERROR = LookupError("one that need not be made")
OBJECT = Class()


def failing():
    try:
        fails(ERROR)
    except LookupError:
        pass


CALLS = {
    "function": lambda: function(1),
    "named": lambda: named("one"),
    "method": lambda: OBJECT.method(1),
    "generator": lambda: [*generator(1)],
    "failing": failing,
}
FAILURES = 200


def main(kind):
    call = CALLS[kind]
    ends = collections.Counter()
    for each in range(FAILURES):
        end = "well"
        _testcapi.set_nomemory(each, each + 1)
        try:
            call()
        except (MemoryError, SystemError) as error:
            _testcapi.remove_mem_hooks()
            trace = error.__traceback__
            while trace.tb_next is not None:
                trace = trace.tb_next
            end = trace.tb_frame.f_code.co_filename.rpartition("/")[2]
        _testcapi.remove_mem_hooks()
        ends[end] += 1
    for _ in range(10):
        call()
    print(sorted(ends), ends["well"])
