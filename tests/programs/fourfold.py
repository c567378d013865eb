"""Four times `greenwork.work` at once: fourfold.py RUNTIME. Prints what it has measured itself."""

import json
import sys
import warnings

import greenwork

warnings.simplefilter("ignore")  # eventlet warns that it is deprecated


def eventlet():
    import eventlet

    pool = eventlet.GreenPool()
    for _ in range(4):
        pool.spawn_n(greenwork.work, eventlet.sleep)
    pool.waitall()


def eventlet_asyncio():
    import eventlet.hubs

    eventlet.hubs.use_hub("asyncio")
    list(eventlet.GreenPool().imap(greenwork.work, [eventlet.sleep] * 4))


def eventlet_patched():
    import time

    import eventlet

    eventlet.monkey_patch()
    pile = eventlet.GreenPile()
    for _ in range(4):
        pile.spawn(greenwork.work, time.sleep)
    list(pile)


def gevent():
    import gevent

    gevent.joinall([gevent.spawn(greenwork.work, gevent.sleep) for _ in range(4)], raise_error=True)


def gevent_patched():
    import gevent.monkey

    gevent.monkey.patch_all()
    import threading
    import time

    threads = [threading.Thread(target=greenwork.work, args=(time.sleep,)) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()


def asyncio():
    import asyncio

    async def main():
        await asyncio.gather(*[greenwork.work_async(asyncio.sleep) for _ in range(4)])

    asyncio.run(main())


def trio():
    import trio

    async def main():
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(greenwork.work_async, trio.sleep)

    trio.run(main)


def anyio():
    import anyio

    async def main():
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(greenwork.work_async, anyio.sleep)

    anyio.run(main)


def hub_in_a_thread():
    import threading

    import eventlet.hubs  # noqa: F401 - imported in a thread it hangs at times

    thread = threading.Thread(target=globals()["eventlet"])
    thread.start()
    thread.join()


def threads():
    import threading
    import time

    threads = [threading.Thread(target=greenwork.work, args=(time.sleep,)) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()


def tpool():
    import time

    import eventlet.tpool

    pool = eventlet.GreenPool()
    for _ in range(4):
        pool.spawn(eventlet.tpool.execute, greenwork.work, time.sleep)
    pool.waitall()


def gevent_threadpool():
    import time

    import gevent

    pool = gevent.get_hub().threadpool
    gevent.joinall([pool.spawn(greenwork.work, time.sleep) for _ in range(4)])


def executor():
    import time
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(greenwork.work, [time.sleep] * 4))


globals()[sys.argv[1]]()
print(json.dumps(greenwork.measured))
