"""The settings: what they are called, what they default to, and where they come from.

`config.toml` at the top of the project explains each one. Only the runtime and the command line see a
`Settings`; every other part is given the few values that it needs.
"""

from orchestrator.settings.sections import (
    NO_LISTEN,
    CliSettings,
    CollectorSettings,
    DatabaseSettings,
    EngineSettings,
    LimitSettings,
    LogSettings,
    RetentionSettings,
    RetrySettings,
    SecuritySettings,
    ServerSettings,
    Settings,
    WebhookSettings,
)
from orchestrator.settings.sources import SettingsError, load_settings, setting_names

__all__ = [
    "NO_LISTEN",
    "CliSettings",
    "CollectorSettings",
    "DatabaseSettings",
    "EngineSettings",
    "LimitSettings",
    "LogSettings",
    "RetentionSettings",
    "RetrySettings",
    "SecuritySettings",
    "ServerSettings",
    "Settings",
    "SettingsError",
    "WebhookSettings",
    "load_settings",
    "setting_names",
]
