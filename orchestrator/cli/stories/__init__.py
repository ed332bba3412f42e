"""The stories `orchestrator demo` tells: each plays a workflow of config.yaml to its end."""

import asyncio
import importlib
import signal

from orchestrator.cli.stories.telling import Teller


async def play(story: str, teller: Teller) -> int:
    """Play the story of that name, a module beside this one; 0 when all came out right."""
    if (task := asyncio.current_task()) is not None:  # so that a killed demo leaves no service behind
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    told = importlib.import_module(f"{__name__}.{story}")
    return 0 if await told.tell(teller) else 1
