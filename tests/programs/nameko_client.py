"""Calls `work` of nameko_server.py five times at once: nameko_client.py URL RECORD."""

import eventlet

eventlet.monkey_patch()

import json
import sys
import time

from nameko.standalone.rpc import ClusterRpcProxy

URL, RECORD = sys.argv[1:]
CALLS = 5
ready = []


def call(name):
    with ClusterRpcProxy({"AMQP_URI": URL}) as cluster:
        cluster.shop.warm()
        ready.append(name)
        while len(ready) < CALLS:
            time.sleep(0.001)
        began = time.time()
        cluster.shop.work(name)
        with open(RECORD, "a") as file:
            file.write(json.dumps([name, began, time.time()]) + "\n")


calls = [eventlet.spawn(call, f"work{number}") for number in range(CALLS)]
for each in calls:
    each.wait()
