"""The libraries that only the extra brings are imported on first use."""

from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.errors import ConfigError


@contextmanager
def needed() -> Iterator[None]:
    """Around the import of `orchestrator.jobs.library`.

    Raises:
        ConfigError: The extra is not installed.
    """
    try:
        yield
    except ImportError as missing:
        raise ConfigError(
            f"PostgreSQL needs more libraries ({missing}): install gemini-orchestrator[postgres]"
        ) from missing
