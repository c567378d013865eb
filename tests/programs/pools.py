"""Gives callables.py's functions to processes of each kind, and says what comes back."""

import copy
import multiprocessing
import pickle
import sys
from concurrent.futures import ProcessPoolExecutor

import callables

GIVEN = (
    callables.function,
    callables.decorated,
    callables.partial,
    callables.cached,
    callables.from_c,
    callables.instance,
    callables.Thing(5).method,
    callables.Last(5).inherited,
    callables.Last.of_class,
    callables.Thing.static,
    callables.Thing(4),
    callables.Colour.RED.shade,
    callables.Pair(1).total,
    callables.Point(1).scaled,
    len,
)


def main():
    method = sys.argv[1]
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        for given in GIVEN:
            print(
                given,
                pool.map(Catch(given), [1, "a"]),
                pool.apply(given, (1,)) if given is not len else "",
            )
        print(pool.map(callables.function, range(20), chunksize=3))
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        print(list(executor.map(callables.function, range(5))))
    process = context.Process(target=callables.function, args=(1,))
    process.start()
    process.join()
    print(process.exitcode)
    for given in GIVEN:
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            again = pickle.loads(pickle.dumps(given, protocol))
            assert again == given or type(again).__name__ in ("partial", "method"), given
        copy.deepcopy([given])


class Catch:
    """Calls what it was given, whatever comes of it."""

    def __init__(self, given):
        self.given = given

    def __call__(self, argument):
        try:
            return self.given(argument)
        except TypeError as error:
            return str(error)


if __name__ == "__main__":
    main()
