"""Takes the notifications from the bus and says whether they are complete.

Each call has a start and one end or error, which names the start's time stamp as `started_at`.
Whatever comes twice has the same message_id. What `usage` says of an hour is the sum of its ends.
"""

import json
import os
import sys
from collections import Counter, defaultdict
from urllib.parse import urlsplit

URL = os.environ.get("BUS_URL", "amqp://guest:guest@127.0.0.1:5672//")
QUEUES = ("notifications.info", "notifications.error")


def received(url=URL, queues=QUEUES):
    """The notifications that wait in the queues, taken from them."""
    import amqp

    where = urlsplit(url)
    login = {"userid": where.username, "password": where.password}
    with amqp.Connection(f"{where.hostname}:{where.port or 5672}", **login) as connection:
        channel = connection.channel()
        for queue in queues:
            while message := channel.basic_get(queue):
                yield json.loads(message.body)
                channel.basic_ack(message.delivery_tag)


class Ledger:
    """What has come in."""

    def __init__(self):
        self.twice = 0
        self.starts = set()
        self.ends = {}
        self.usage = []
        self.dropped = 0
        self._known = set()

    def add(self, message):
        """Take in one notification."""
        if message["message_id"] in self._known:
            self.twice += 1
            return
        self._known.add(message["message_id"])
        event, _, kind = message["event_type"].rpartition(".")
        payload, request = message["payload"], message.get("_context_request_id")
        if message["event_type"] == "tach.events.dropped":
            self.dropped += payload["count"]
        elif kind == "start":
            self.starts.add((event, request, message["timestamp"]))
        elif kind in ("end", "error"):
            self.ends[event, request, payload["started_at"]] = message
        elif kind == "usage":
            self.usage.append(message)

    def unpaired(self):
        """The calls of which a start or an end is missing."""
        return self.starts ^ self.ends.keys()

    def counts(self):
        """How many calls of each tenant and hour have ended, and how many of them in an error."""
        found = defaultdict(lambda: [0, 0])
        for (event, _, _), message in self.ends.items():
            hour = message["timestamp"][:13] + ":00:00"
            tally = found[event, message["payload"]["tenant_id"], hour]
            tally[0] += 1
            tally[1] += message["event_type"].endswith(".error")
        return found

    def wrong_usage(self):
        """The usage notifications that are not the sum of the ends."""
        counts = self.counts()
        return [
            each
            for each in self.usage
            if counts[
                each["event_type"].removesuffix(".usage"),
                each["payload"]["tenant_id"],
                each["payload"]["audit_period_beginning"],
            ]
            != [each["payload"]["count"], each["payload"]["errors"]]
        ]


def main():
    """Say it; 1 if something is missing."""
    ledger = Ledger()
    for message in received():
        ledger.add(message)
    of_tenants = Counter(message["payload"]["tenant_id"] for message in ledger.ends.values())
    errors = sum(message["event_type"].endswith(".error") for message in ledger.ends.values())
    print(f"{len(ledger.ends)} calls, {errors} errors: {dict(sorted(of_tenants.items()))}")
    print(f"{len(ledger.unpaired())} unpaired, {ledger.twice} twice, {ledger.dropped} dropped")
    return 1 if ledger.unpaired() or ledger.dropped or ledger.wrong_usage() else 0


if __name__ == "__main__":
    sys.exit(main())
