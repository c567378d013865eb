"""Has the tasks of celery_jobs.py done at once: celery_client.py RECORD."""

import json
import sys
import threading
import time

from celery_jobs import jobs, warm

together = threading.Barrier(len(jobs))


def call(number):
    jobs[number].delay().get(timeout=60)


def caller(number):
    warm.delay().get(timeout=60)  # each thread has a connection of its own
    together.wait()
    began = time.time()
    call(number)
    with open(sys.argv[1], "a") as file:
        file.write(json.dumps([f"work{number}", began, time.time()]) + "\n")


threads = [threading.Thread(target=caller, args=(number,)) for number in range(len(jobs))]
for each in threads:
    each.start()
for each in threads:
    each.join()
