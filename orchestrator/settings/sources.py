"""Where settings come from: a flag, else the environment, else config.toml, else the default."""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource, TomlConfigSettingsSource

from orchestrator.settings.sections import ENVIRONMENT_PREFIX, Settings

DEFAULT_CONFIG_PATH = Path("config.toml")

# Names of their own, beside the nested one that every setting has.
SHORT_NAMES = {
    "ORCHESTRATOR_ADMIN_TOKEN": ("security", "admin_token"),
    "ORCHESTRATOR_TOKEN": ("cli", "token"),
    "ORCHESTRATOR_URL": ("cli", "url"),
}

# Never quoted in a message: each is a secret, or may hold one.
SECRETS = {"cli.token", "database.url", "database.listen_url", "security.admin_token", "security.master_key"}

# Kubernetes gives a container such variables for every Service, and one may well be called "orchestrator…".
# They are not meant for us, and to refuse them would keep the server from starting there.
SERVICE_LINK_NAME = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_[A-Z]+)?$")
SERVICE_LINK_VALUE = re.compile(r"(tcp|udp|sctp)://")

Values = dict[str, Any]


class SettingsError(ValueError):
    """The settings cannot be used; the message names each wrong one, its origin, and what is expected."""


@dataclass(frozen=True, slots=True)
class _Sources:
    """What each source says, as {section: {key: value}}."""

    flags: Values
    environment: Values
    file: Values
    file_name: str

    def merged(self) -> Values:
        """The values of all, the stronger source's over the weaker one's."""
        result: Values = {}
        for source in (self.file, self.environment, self.flags):
            for section, values in source.items():
                if isinstance(values, dict) and isinstance(result.get(section), dict):
                    values = {**result[section], **values}
                result[section] = values
        return result

    def origin(self, section: str, key: str) -> str:
        """Where the value in force was given, in the user's words."""
        if key in self.flags.get(section, {}):
            return "the command line"
        if key in self.environment.get(section, {}):
            return "the environment"
        return self.file_name


def setting_names() -> dict[str, str]:
    """Every setting: `section.key` -> its name in the environment."""
    return {
        f"{section}.{key}": f"{ENVIRONMENT_PREFIX}{section}__{key}".upper()
        for section, field in Settings.model_fields.items()
        for key in type(field.default).model_fields
    }


def load_settings(config_path: Path | None, overrides: Mapping[str, Mapping[str, object]]) -> Settings:
    """Read the settings. Without a `config_path`, ./config.toml is read if there is one.

    `overrides` are the flags, as {section: {key: value}}; None means that the flag was not given.
    Raises SettingsError.
    """
    sources = _Sources(
        flags={
            section: {key: value for key, value in values.items() if value is not None}
            for section, values in overrides.items()
        },
        environment=_read_environment(),
        file=_read_file(config_path),
        file_name=str(config_path or DEFAULT_CONFIG_PATH),
    )
    try:
        return Settings.model_validate(sources.merged())
    except ValidationError as error:
        problems = [_problem(detail, sources) for detail in error.errors(include_url=False)]
    raise SettingsError("\n".join(problems))


def _read_environment() -> Values:
    known = [*setting_names().values(), *SHORT_NAMES]
    unknown = [
        f"{name} is not a setting; the nearest is {_nearest(name, known)}"
        for name, value in os.environ.items()
        if name.startswith(ENVIRONMENT_PREFIX)
        and name not in known
        and not SERVICE_LINK_NAME.search(name)
        and not SERVICE_LINK_VALUE.match(value)
    ]
    if unknown:
        raise SettingsError("\n".join(sorted(unknown)))
    values: Values = EnvSettingsSource(Settings)()
    for name, (section, key) in SHORT_NAMES.items():
        if os.environ.get(name):
            values[section] = {key: os.environ[name], **values.get(section, {})}
    return values


def _read_file(config_path: Path | None) -> Values:
    path = config_path or DEFAULT_CONFIG_PATH
    if config_path is None and not path.exists():
        return {}
    # The source passes over what is not a file, and a path that was asked for must not be passed over.
    if not path.is_file():
        raise SettingsError(f"{path}: there is no such file")
    try:
        return TomlConfigSettingsSource(Settings, toml_file=path)()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error


def _problem(detail: ErrorDetails, sources: _Sources) -> str:
    section, key, *_ = (*map(str, detail["loc"]), "", "")
    reason = detail["msg"].removeprefix("Value error, ")
    if not section:
        return reason
    name = f"{section}.{key}" if key else section
    origin = sources.origin(section, key)
    if detail["type"] == "extra_forbidden":
        known = list(setting_names()) if key else list(Settings.model_fields)
        return f"{name} (from {origin}) is not a setting; the nearest is {_nearest(name, known)}"
    given = f"; given: {detail['input']!r}" if key and name not in SECRETS else ""
    return f"{name} (from {origin}): {reason}{given}"


def _nearest(name: str, known: list[str]) -> str:
    return max(known, key=lambda candidate: difflib.SequenceMatcher(None, name, candidate).ratio())
