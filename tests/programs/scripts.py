"""Generators and coroutines that do what a script says, a list of what to do with which value."""

# ruff: noqa: BLE001

BEGUN: list = []  # has one entry for each that has begun, after a number of finally blocks


def scripted(script, me):  # noqa: C901
    BEGUN.append(1)
    got = []
    for kind, value in script:
        if kind == "yield":
            got.append((yield value))
        elif kind == "catch":
            try:
                got.append((yield value))
            except Exception as error:
                got.append((type(error).__name__, error.args))
        elif kind == "stubborn":
            try:
                yield value
            except BaseException as error:
                got.append(type(error).__name__)
                yield "no"
        elif kind == "finally":
            try:
                yield value
            finally:
                got.append("finally")
                BEGUN[0] += 1
        elif kind == "chain":
            try:
                yield value
            except Exception as error:
                raise KeyError(value) from error
        elif kind == "raise":
            raise value
        elif kind == "from":
            got.append((yield from scripted(value, me)))
        elif kind == "reenter":
            try:
                got.append(me[0].send(None))
            except ValueError as error:
                got.append(error.args)
        elif kind == "return":
            return got
    return got


class Pause:
    def __init__(self, value):
        self.value = value

    def __await__(self):
        return (yield self.value)


async def scripted_coroutine(script, me):  # noqa: C901
    BEGUN.append(1)
    got = []
    for kind, value in script:
        if kind == "yield":
            got.append(await Pause(value))
        elif kind == "catch":
            try:
                got.append(await Pause(value))
            except Exception as error:
                got.append((type(error).__name__, error.args))
        elif kind == "stubborn":
            try:
                await Pause(value)
            except BaseException as error:
                got.append(type(error).__name__)
                await Pause("no")
        elif kind == "finally":
            try:
                await Pause(value)
            finally:
                got.append("finally")
                BEGUN[0] += 1
        elif kind == "chain":
            try:
                await Pause(value)
            except Exception as error:
                raise KeyError(value) from error
        elif kind == "raise":
            raise value
        elif kind == "from":
            got.append(await scripted_coroutine(value, me))
        elif kind == "reenter":
            try:
                got.append(me[0].send(None))
            except ValueError as error:
                got.append(error.args)
        elif kind == "await again":
            try:
                got.append(await me[0])
            except RuntimeError as error:
                got.append(error.args)
        elif kind == "return":
            return got
    return got


async def scripted_async(script, me):  # noqa: C901
    BEGUN.append(1)
    for kind, value in script:
        if kind == "yield":
            yield value
        elif kind == "wait":
            await Pause(value)
        elif kind == "catch":
            try:
                yield value
            except Exception as error:
                yield type(error).__name__, error.args
        elif kind == "stubborn":
            try:
                yield value
            except BaseException as error:
                yield type(error).__name__
        elif kind == "finally":
            try:
                yield value
            finally:
                BEGUN[0] += 1
                await Pause("finally")
        elif kind == "chain":
            try:
                yield value
            except Exception as error:
                raise KeyError(value) from error
        elif kind == "raise":
            raise value
        elif kind == "from":
            async for each in scripted_async(value, me):
                yield each
        elif kind == "return":
            return
