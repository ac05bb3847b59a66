"""Every setting with its default and its bounds, a frozen model for each table of config.toml."""

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

ENVIRONMENT_PREFIX = "ORCHESTRATOR_"

# For `database.listen_url`: no connection is opened that waits for the rings of other nodes.
NO_LISTEN = "off"

# A lease must outlast its call, or another node makes the call a second time.
LEASE_MARGIN_SECS = 5


def _empty_is_none(value: object) -> object:
    return None if value == "" else value


def _auto_is_none(value: object) -> object:
    return None if value in ("", "auto") else value


def _split_at_commas(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("expected http://host or https://host, with a port and a path if need be")
    return value.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


OptionalHttpUrl = Annotated[Annotated[str, AfterValidator(_http_url)] | None, BeforeValidator(_empty_is_none)]
OptionalSecret = Annotated[SecretStr | None, BeforeValidator(_empty_is_none), Field(repr=False)]
Hosts = Annotated[tuple[str, ...], BeforeValidator(_split_at_commas)]
Bytes = Annotated[int, Field(ge=1024, le=1024**3)]
# 0: for ever.
Days = Annotated[int, Field(ge=0, le=36_500)]


class Section(BaseModel):
    """A table of config.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerSettings(Section):
    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=8400, ge=0, le=65_535)
    data_dir: Path = Path(".orchestrator")
    public_url: OptionalHttpUrl = None
    name: str = Field(default="", max_length=100, pattern=r"^[^:\s]*$")
    role: Literal["all", "api", "engine"] = "all"

    @field_validator("data_dir")
    @classmethod
    def _expand_home(cls, value: Path) -> Path:
        return value.expanduser()

    @property
    def is_of_one_machine(self) -> bool:
        """Whether nobody but this machine can reach the API that the server works for: directly, or through a proxy."""
        # A node of the role `engine` listens for its health only; who can reach the API it cannot tell.
        if self.role == "engine" or not _is_loopback(self.host):
            return False
        return self.public_url is None or _is_loopback(urlsplit(self.public_url).hostname or "")

    def url(self, bound_port: int | None = None) -> str:
        """The address at which apps reach the server; `bound_port` is the real one where `port` is 0."""
        if self.public_url is not None:
            return self.public_url
        # Bound to every address, the server has no name of its own; its own machine finds it here.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{bound_port or self.port}"


class DatabaseSettings(Section):
    url: str = Field(default="", repr=False)
    pool_size: int = Field(default=6, ge=1, le=200)
    listen_url: str = Field(default="", repr=False)

    @field_validator("listen_url")
    @classmethod
    def _postgresql(cls, value: str) -> str:
        if value not in ("", NO_LISTEN) and not value.startswith(("postgres://", "postgresql://")):
            raise ValueError(f"expected postgresql://user:password@host/name, or {NO_LISTEN}")
        return value

    @field_validator("url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        scheme, separator, rest = value.partition("://")
        if scheme in ("postgres", "postgresql") and separator:
            return f"postgresql://{rest}"
        if value and not re.fullmatch(r"sqlite:///.*[^/]", value):
            raise ValueError("expected sqlite:///path/of/file or postgresql://user:password@host/name")
        return value


class EngineSettings(Section):
    concurrency: int = Field(default=100, ge=1, le=10_000)
    poll_interval_secs: float = Field(default=1, ge=0.01, le=60)
    lease_secs: float = Field(default=30, ge=1, le=3600)
    node_timeout_secs: float = Field(default=10, ge=0.5, le=3600)
    drain_secs: float = Field(default=25, ge=0, le=3600)
    import_concurrency: int = Field(default=8, ge=1, le=1000)
    event_concurrency: int = Field(default=8, ge=1, le=1000)


class WebhookSettings(Section):
    timeout_secs: float = Field(default=20, ge=0.1, le=900)
    verify_tls: bool = True
    allow_private_addresses: Annotated[bool | None, BeforeValidator(_auto_is_none)] = None
    allowed_hosts: Hosts = ()


class RetrySettings(Section):
    max_retries: int = Field(default=15, ge=0, le=1000)
    initial_delay_secs: float = Field(default=5, ge=0, le=86_400)
    multiplier: float = Field(default=2, ge=1, le=100)
    max_delay_secs: float = Field(default=3600, ge=0, le=30 * 86_400)


class LimitSettings(Section):
    answer_bytes: Bytes = 10 * 1024**2
    worker_state_bytes: Bytes = 1024**2
    app_state_bytes: Bytes = 1024**2
    items_per_answer: int = Field(default=10_000, ge=1, le=1_000_000)
    api_body_bytes: Bytes = 12 * 1024**2


class RetentionSettings(Section):
    succeeded_days: Days = 30
    failed_days: Days = 90
    aborted_days: Days = 30
    occurrences_days: Days = 90
    events_days: Days = 30
    collected_items_days: Days = 0


class CollectorSettings(Section):
    endpoint: OptionalHttpUrl = None


class SecuritySettings(Section):
    master_key: OptionalSecret = None
    admin_token: OptionalSecret = None


class LogSettings(Section):
    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = "info"
    format: Annotated[Literal["auto", "console", "json"], BeforeValidator(_lower)] = "auto"


class CliSettings(Section):
    url: OptionalHttpUrl = None
    token: OptionalSecret = None


class Settings(BaseSettings):
    """Every setting. `Settings()` is the defaults; `load_settings` reads the environment and the file."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=ENVIRONMENT_PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        enable_decoding=False,
    )

    server: ServerSettings = ServerSettings()
    database: DatabaseSettings = DatabaseSettings()
    engine: EngineSettings = EngineSettings()
    webhook: WebhookSettings = WebhookSettings()
    retry: RetrySettings = RetrySettings()
    limits: LimitSettings = LimitSettings()
    retention: RetentionSettings = RetentionSettings()
    collector: CollectorSettings = CollectorSettings()
    security: SecuritySettings = SecuritySettings()
    log: LogSettings = LogSettings()
    cli: CliSettings = CliSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what is given, and read nothing behind the caller's back."""
        return (init_settings,)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.engine.lease_secs < self.webhook.timeout_secs + LEASE_MARGIN_SECS:
            raise ValueError(
                f"engine.lease_secs ({self.engine.lease_secs:g}) must be at least {LEASE_MARGIN_SECS} more "
                f"than webhook.timeout_secs ({self.webhook.timeout_secs:g})"
            )
        if self.server.role != "all" and not self.database.url.startswith("postgresql:"):
            raise ValueError(f"server.role is {self.server.role}: that takes a database.url of PostgreSQL")
        if self.server.role == "engine" and self.server.public_url is None:
            raise ValueError("server.role is engine: set server.public_url to where the API is, which apps are told")
        if self.retry.max_delay_secs < self.retry.initial_delay_secs:
            raise ValueError(
                f"retry.max_delay_secs ({self.retry.max_delay_secs:g}) must not be less than "
                f"retry.initial_delay_secs ({self.retry.initial_delay_secs:g})"
            )
        return self

    @property
    def database_url(self) -> str:
        """The database to use: the given one, else a SQLite file in the data directory."""
        return self.database.url or f"sqlite:///{self.server.data_dir / 'orchestrator.db'}"

    @property
    def private_addresses_allowed(self) -> bool:
        """Whether apps may live at private addresses: by default only while nobody else reaches us."""
        allowed = self.webhook.allow_private_addresses
        return self.server.is_of_one_machine if allowed is None else allowed
