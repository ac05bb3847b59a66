"""The settings that a command works with: its flags over everything else."""

from collections.abc import Mapping
from pathlib import Path

from orchestrator.cli.failures import Misused
from orchestrator.settings import Settings, SettingsError, load_settings


def read_flags(config: Path | None, flags: Mapping[str, Mapping[str, object]]) -> Settings:
    """The settings with any flags over them, as {section: {key: value}}; raises Misused."""
    try:
        return load_settings(config, flags)
    except SettingsError as error:
        first, *others = str(error).splitlines()
        raise Misused(first, *others) from None
