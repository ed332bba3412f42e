"""`make bench`: every measurement, one after another. Run it on a machine that does nothing else."""

import asyncio

from bench import client, intake, waiting, wakeup


async def main() -> None:
    """Print all tables."""
    for part in (intake, wakeup, client, waiting):
        await part.main()
        print(flush=True)


asyncio.run(main())
