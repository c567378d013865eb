"""What `bus_service` tells the bus of."""

from __future__ import annotations

import time


class Refused(Exception):
    """Every 10th."""


class Context:
    request_id = "req-of-the-test"
    project_id = "tenant"
    auth_token = "s3cret"


class Instance:
    def __init__(self, number: int) -> None:
        self.uuid = f"instance-{number}"
        self.number = number


class Manager:
    def reboot(self, context: Context, instance: Instance) -> str:
        if instance.number % 100 == 0:
            time.sleep(0.001)
        if instance.number % 10 == 0:
            raise Refused(instance.uuid)
        return "rebooted"
