"""An oslo.messaging RPC server with one worker: rpc_server.py EXECUTOR URL RECORD.

Its methods work0, work1, ... take 200 ms, and RECORD gets [method, began, ended] of each. It ends
when RECORD.stop exists.
"""

import sys

EXECUTOR, URL, RECORD = sys.argv[1:]
if EXECUTOR == "eventlet":
    import eventlet

    eventlet.monkey_patch()

import json
import os
import time

import oslo_messaging
from oslo_config import cfg


class Endpoint:
    def __getattr__(self, method):
        if not method.startswith("work"):
            raise AttributeError(method)

        def work(ctxt):
            began = time.time()
            time.sleep(0.2)
            with open(RECORD, "a") as file:
                file.write(json.dumps([method, began, time.time()]) + "\n")

        return work

    def warm(self, ctxt):
        return None


cfg.CONF([], project="tests")
transport = oslo_messaging.get_rpc_transport(cfg.CONF, url=URL)
cfg.CONF.set_override("heartbeat_timeout_threshold", 0, group="oslo_messaging_rabbit")
target = oslo_messaging.Target(topic="work", server="here")
server = oslo_messaging.get_rpc_server(transport, target, [Endpoint()], executor=EXECUTOR)
server.start(override_pool_size=1)
print("ready", flush=True)
while not os.path.exists(RECORD + ".stop"):
    time.sleep(0.02)
server.stop()
server.wait()
