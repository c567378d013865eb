"""Tasks of celery that take 200 ms; $RECORD gets [name, began, ended] of each."""

import json
import os
import time

from celery import Celery

app = Celery("jobs", broker=os.environ["BROKER"], backend="rpc://")


def job(name):
    def run():
        began = time.time()
        time.sleep(0.2)
        with open(os.environ["RECORD"], "a") as file:
            file.write(json.dumps([name, began, time.time()]) + "\n")

    return app.task(run, name=name)


jobs = [job(f"work{number}") for number in range(5)]


@app.task(name="warm")
def warm():
    return None
