"""Calls work0 to work4 of rpc_server.py at once: rpc_client.py URL RECORD."""

import json
import sys
import threading
import time

import oslo_messaging
from oslo_config import cfg

URL, RECORD = sys.argv[1:]
CALLS = 5

cfg.CONF([], project="tests")
transport = oslo_messaging.get_rpc_transport(cfg.CONF, url=URL)
cfg.CONF.set_override("heartbeat_timeout_threshold", 0, group="oslo_messaging_rabbit")
client = oslo_messaging.get_rpc_client(transport, oslo_messaging.Target(topic="work"))
together = threading.Barrier(CALLS)


def call(method):
    client.call({}, "warm")  # each thread takes a connection, which is made once
    together.wait()
    began = time.time()
    client.call({}, method)
    with open(RECORD, "a") as file:
        file.write(json.dumps([method, began, time.time()]) + "\n")


threads = [threading.Thread(target=call, args=(f"work{number}",)) for number in range(CALLS)]
for each in threads:
    each.start()
for each in threads:
    each.join()
