"""Loading tool modules: only those a config lists, only from directly below one folder.

A module is read once; those bytes are hashed, logged and run. It becomes
`orchestrator_tools.<name>`, so it shadows no installed package and the folder never enters
`sys.path`. It may import installed packages as usual, and modules listed before it with
`from .orders import …`; it cannot import files of the folder that are not listed.
"""

import hashlib
import os
import re
import stat
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Final

import structlog

from orchestrator.errors import ConfigError
from orchestrator.toolkit.declare import Tool, record_of

PACKAGE: Final = "orchestrator_tools"
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MAX_MODULE_BYTES: Final = 1024 * 1024

log = structlog.get_logger(__name__)


def load_modules(folder: Path, names: Sequence[str]) -> list[Tool]:
    """The tools of those modules, in the order of `names` and of their definition.

    Args:
        folder: Where the modules are.
        names: Without `.py`; no dots, no paths.

    Raises:
        ConfigError: A module is missing, lies elsewhere, can be changed by others, fails to
            import (with the line), or declares no tool.
    """
    root = _folder(folder)
    tools: list[Tool] = []
    for name in names:
        if list(names).count(name) > 1:
            raise ConfigError(f"tools.modules: {name!r} is listed twice")
        tools += load_module(root, name)
    return tools


def load_module(folder: Path, name: str) -> list[Tool]:
    """The tools of one module; see `load_modules`."""
    root = _folder(folder)
    with _found(f"tools.modules: {name!r}"):
        path = _path(root, name)
        code = _read(path, name)
    module = _module(name, path, code)
    tools = _run(module, path, code)
    log.info(
        "tool_module_loaded",
        module=name,
        file=str(path),
        sha256=hashlib.sha256(code).hexdigest(),
        tools=[t.name for t in tools],
    )
    return tools


@contextmanager
def _found(what: str) -> Iterator[None]:
    """What keeps us from looking is the configuration's fault, too: rights, long names, links in a circle."""
    try:
        yield
    except (OSError, RuntimeError) as e:  # before Python 3.13 a circle is a RuntimeError
        raise ConfigError(f"{what}: cannot be read: {getattr(e, 'strerror', None) or e}") from e


def _folder(folder: Path) -> Path:
    with _found(f"tools.folder: {folder}"):
        root = folder.resolve()
        if not root.is_dir():
            raise ConfigError(f"tools.folder: {folder} is not a folder")
    _kept("tools.folder", root)
    return root


def _kept(what: str, folder: Path) -> None:
    """That what is in it cannot be replaced by anyone; in a sticky folder only by its owner."""
    if _has_modes() and folder.stat().st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH:
        raise ConfigError(f"{what}: anyone may write to {folder}; run chmod o-w {folder}")


def _path(root: Path, name: str) -> Path:
    if not NAME.fullmatch(name):
        raise ConfigError(f"tools.modules: {name!r} should be a plain module name, without dots or slashes")
    path = root / f"{name}.py"
    real = path.resolve()
    if not real.is_file():
        raise ConfigError(f"tools.modules: {name!r}: there is no file {path}")
    if not real.is_relative_to(
        root
    ):  # a link may point inside the folder (as mounted config does), not outside
        raise ConfigError(f"tools.modules: {name!r}: {path} is a link that leads out of the folder")
    for folder in real.parents:  # such a link may lead below others
        if folder == root:
            break
        _kept(f"tools.modules: {name!r}", folder)
    return real


def _read(path: Path, name: str) -> bytes:
    """The bytes, with the modes of the very file that was read."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        # The group may write: with a umask of 002 (each user has a group of their own) git checks out so.
        if _has_modes() and status.st_mode & stat.S_IWOTH:
            raise ConfigError(f"tools.modules: {name!r}: anyone may write to it; run chmod o-w {path}")
        code = file.read(MAX_MODULE_BYTES + 1)
    if len(code) > MAX_MODULE_BYTES:
        raise ConfigError(f"tools.modules: {name!r}: is larger than {MAX_MODULE_BYTES // 1024} KiB")
    return code


def _has_modes() -> bool:
    return os.name == "posix"


def _module(name: str, path: Path, code: bytes) -> ModuleType:
    module = ModuleType(f"{PACKAGE}.{name}")
    module.__file__ = str(path)
    module.__package__ = PACKAGE
    module.__dict__["__source_bytes__"] = code  # `Tool.version` hashes what runs, not what lies there later
    return module


def _package() -> ModuleType:
    """The parent of all tool modules. Its empty path keeps unlisted files out of reach."""
    if PACKAGE not in sys.modules:
        package = ModuleType(PACKAGE)
        package.__path__ = []
        sys.modules[PACKAGE] = package
    return sys.modules[PACKAGE]


def _run(module: ModuleType, path: Path, code: bytes) -> list[Tool]:
    package, short = _package(), module.__name__.rpartition(".")[2]
    sys.modules[module.__name__] = module
    try:
        exec(compile(code, str(path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102 (a listed module)
        tools = _declared(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also SystemExit: a module must not end the service
        del sys.modules[module.__name__]
        raise ConfigError(_explain(short, path, error)) from error
    setattr(package, short, module)
    return tools


def _declared(module: ModuleType) -> list[Tool]:
    """What was declared here; a tool imported from a sibling belongs to the sibling."""
    found = [(thing, r) for thing in vars(module).values() if (r := record_of(thing))]
    own = {id(r): r for _, r in found if r.module == module.__name__}
    if not own:
        raise ConfigError("declares no tool; put @tool above a function")
    for thing, record in found:
        if thing is not record and thing is not record.function:  # functools.wraps copied the mark
            above = "another decorator stands above @tool and would not run; put @tool on top"
            raise ConfigError(f"tool {record.name!r}: {above}")
    return list(own.values())


def _explain(name: str, path: Path, error: BaseException) -> str:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    line = error.lineno if isinstance(error, SyntaxError) else frames[-1].lineno if frames else None
    at = f", line {line}" if line else ""
    kind = "" if isinstance(error, ConfigError) else f"{type(error).__name__}: "
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"tool module {name!r} ({path}{at}): {kind}{text}"
