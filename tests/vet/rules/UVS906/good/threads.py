import argparse
import asyncio
import threading

argparse.ArgumentParser().parse_args()
workers = [threading.Thread(target=print, args=(number,)) for number in range(20)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()


async def tick() -> None:
    await asyncio.sleep(0)
    await asyncio.get_running_loop().run_in_executor(None, print, "ticked")


asyncio.run(tick())
