"""What edited.py calls."""

import time


def always(): ...
def renamed(): ...
def changing(): ...
def flipping(): ...
def twice(): ...
def wild_a(): ...
def wild_b(): ...
def named(kind): ...


def busy():
    time.sleep(0.0001)


def failing():
    raise KeyError("failing")


def generating():
    yield 1
    yield 2


async def awaiting(): ...


class Base:
    def inherited(self): ...
    def own(self): ...


class Derived(Base):
    def own(self):
        super().own()

    @staticmethod
    def static(): ...
