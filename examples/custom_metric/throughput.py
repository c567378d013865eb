"""Metric types of our own, for functions whose first argument is what they send."""

LARGE = 1_000_000


class Throughput:
    """How many megabytes a second each call has sent, as a distribution."""

    suffix = "mb_per_s"

    def start(self, call):
        """The call begins: what is returned is kept for `stop`."""
        return len(call.args[1])  # args[0] is self

    def stop(self, call, size):
        """The call has ended: the number that it counts with; None for none."""
        if call.error is not None:
            return None  # nothing has arrived
        return size / 1e6 / (call.elapsed / 1e9)


class Large:
    """How many calls had more than a megabyte to send."""

    suffix = "large"
    kind = "counter"

    def start(self, call):
        """Nothing to keep."""

    def stop(self, call, _token):
        """1 for each of them."""
        return 1 if len(call.args[1]) > LARGE else None
