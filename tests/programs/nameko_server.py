"""A nameko service with one worker: nameko_server.py URL RECORD.

Its method `work` takes 200 ms, and RECORD gets [call, began, ended] of each. It ends when
RECORD.stop exists.
"""

import eventlet

eventlet.monkey_patch()

import json
import os
import sys
import time

from nameko.containers import ServiceContainer
from nameko.rpc import rpc

URL, RECORD = sys.argv[1:]


class Shop:
    name = "shop"

    @rpc
    def work(self, name):
        began = time.time()
        time.sleep(0.2)
        with open(RECORD, "a") as file:
            file.write(json.dumps([name, began, time.time()]) + "\n")

    @rpc
    def warm(self):
        return None


container = ServiceContainer(Shop, {"AMQP_URI": URL, "max_workers": 1})
container.start()
print("ready", flush=True)
while not os.path.exists(RECORD + ".stop"):
    time.sleep(0.02)
container.stop()
