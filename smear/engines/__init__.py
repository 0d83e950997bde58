"""Where the work runs, by name: one table, imported when asked for."""

import importlib

from smear.errors import ConfigError
from smear.types import Engine

ENGINES = {"local": "smear.engines.local:run"}


def open_engine(name: str) -> Engine:
    """The engine of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in ENGINES:
        raise ConfigError(f"engine: must be one of {', '.join(map(repr, ENGINES))}, got {name!r}")
    module, _, function = ENGINES[name].partition(":")
    engine: Engine = getattr(importlib.import_module(module), function)
    return engine
