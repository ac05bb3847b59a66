"""The settings: defaults, sources and their order, messages."""

import re
import tomllib
from pathlib import Path

import pytest

from orchestrator.settings import Settings, SettingsError, load_settings, setting_names

CONFIG = Path(__file__).parents[2] / "config.toml"

pytestmark = pytest.mark.usefixtures("nowhere")


def write_config(text: str, name: str = "config.toml") -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


def refusal(config: str | None = None, flags: dict[str, dict[str, object]] | None = None) -> str:
    path = None if config is None else write_config(config)
    with pytest.raises(SettingsError) as raised:
        load_settings(path, flags or {})
    return str(raised.value)


class TestConfigFile:
    def test_explains_exactly_the_settings_with_their_real_defaults(self) -> None:
        uncommented = re.sub(r"(?m)^#(?=\w+ = )", "", CONFIG.read_text(encoding="utf-8"))
        written = tomllib.loads(uncommented)
        assert {f"{section}.{key}" for section, keys in written.items() for key in keys} == set(setting_names())
        assert Settings.model_validate(written) == Settings()

    def test_as_shipped_changes_nothing(self) -> None:
        assert load_settings(CONFIG, {}) == Settings()

    def test_is_read_from_the_working_directory(self) -> None:
        write_config("[server]\nport = 8401\n")
        assert load_settings(None, {}).server.port == 8401

    def test_need_not_exist(self) -> None:
        assert load_settings(None, {}) == Settings()

    def test_must_exist_when_it_was_named(self) -> None:
        with pytest.raises(SettingsError, match=r"^other\.toml: there is no such file$"):
            load_settings(Path("other.toml"), {})

    @pytest.mark.parametrize("content", [b"[server", b"[server]\nhost = '\xff'\n"])
    def test_must_be_toml(self, content: bytes) -> None:
        Path("config.toml").write_bytes(content)
        with pytest.raises(SettingsError, match=r"^config\.toml is not valid TOML: "):
            load_settings(None, {})


class TestOrder:
    def test_flag_over_environment_over_file_over_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        write_config("[server]\nhost = '::1'\nport = 1\n[engine]\nconcurrency = 1\n")
        monkeypatch.setenv("ORCHESTRATOR_SERVER__PORT", "2")
        monkeypatch.setenv("ORCHESTRATOR_ENGINE__CONCURRENCY", "2")
        settings = load_settings(None, {"engine": {"concurrency": 3}})
        assert (settings.server.host, settings.server.port) == ("::1", 2)
        assert (settings.engine.concurrency, settings.engine.import_concurrency) == (3, 8)

    def test_a_flag_that_was_not_given_hides_nothing(self) -> None:
        write_config("[server]\nport = 1\n")
        assert load_settings(None, {"server": {"port": None}}).server.port == 1

    def test_the_defaults_alone_read_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        write_config("[server]\nport = 1\n")
        monkeypatch.setenv("ORCHESTRATOR_SERVER__PORT", "2")
        assert Settings().server.port == 8400


class TestEnvironment:
    def test_every_setting_has_a_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in setting_names().values():
            monkeypatch.setenv(name, "")
        assert load_settings(None, {}) == Settings(), "an empty variable counts as not set"

    def test_values_are_text(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ORCHESTRATOR_WEBHOOK__VERIFY_TLS", "false")
        monkeypatch.setenv("ORCHESTRATOR_WEBHOOK__ALLOWED_HOSTS", "apps.internal, 10.0.0.7")
        monkeypatch.setenv("ORCHESTRATOR_WEBHOOK__ALLOW_PRIVATE_ADDRESSES", "auto")
        webhook = load_settings(None, {}).webhook
        assert webhook.verify_tls is False
        assert webhook.allowed_hosts == ("apps.internal", "10.0.0.7")
        assert webhook.allow_private_addresses is None

    def test_short_names(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ORCHESTRATOR_URL", "https://tasks.example/")
        monkeypatch.setenv("ORCHESTRATOR_TOKEN", "t0ken")
        monkeypatch.setenv("ORCHESTRATOR_ADMIN_TOKEN", "4dmin")
        settings = load_settings(None, {})
        assert settings.cli.url == "https://tasks.example"
        assert settings.cli.token is not None
        assert settings.cli.token.get_secret_value() == "t0ken"
        assert settings.security.admin_token is not None
        assert settings.security.admin_token.get_secret_value() == "4dmin"

    @pytest.mark.parametrize(
        "name", ["ORCHESTRATOR_SERVER__PROT", "ORCHESTRATOR_SERVER_PORT", "ORCHESTRATOR_SREVER__PORT"]
    )
    def test_an_unknown_name_is_refused_with_the_nearest(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(name, "8401")
        assert refusal() == f"{name} is not a setting; the nearest is ORCHESTRATOR_SERVER__PORT"

    def test_what_kubernetes_adds_for_a_service_of_our_name_is_passed_over(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in {
            "ORCHESTRATOR_SERVICE_HOST": "10.0.0.1",
            "ORCHESTRATOR_SERVICE_PORT": "8400",
            "ORCHESTRATOR_SERVICE_PORT_HTTP": "8400",
            "ORCHESTRATOR_SERVER_PORT": "tcp://10.0.0.1:8400",
            "ORCHESTRATOR_SERVER_PORT_8400_TCP": "tcp://10.0.0.1:8400",
            "ORCHESTRATOR_SERVER_PORT_8400_TCP_ADDR": "10.0.0.1",
        }.items():
            monkeypatch.setenv(name, value)
        assert load_settings(None, {}) == Settings()


class TestMessages:
    def test_an_unknown_key_is_refused_with_the_nearest(self) -> None:
        message = refusal("[server]\nprot = 8401\n")
        assert message == "server.prot (from config.toml) is not a setting; the nearest is server.port"

    def test_an_unknown_section_is_refused_with_the_nearest(self) -> None:
        assert refusal("[sevrer]\nport = 1\n") == "sevrer (from config.toml) is not a setting; the nearest is server"

    def test_a_section_must_be_a_table(self) -> None:
        assert refusal("security = 'hunter2'\n").startswith("security (from config.toml): Input should be")

    @pytest.mark.parametrize(
        ("flags", "environment", "origin"),
        [
            ({"server": {"port": 65_536}}, "1", "the command line"),
            ({}, "65536", "the environment"),
            ({}, "", "config.toml"),
        ],
    )
    def test_say_where_a_value_was_given(
        self,
        flags: dict[str, dict[str, object]],
        environment: str,
        origin: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("ORCHESTRATOR_SERVER__PORT", environment)
        message = refusal("[server]\nport = 65536\n", flags)
        assert message.startswith(f"server.port (from {origin}): Input should be less than or equal to 65535; given: ")

    def test_name_every_wrong_setting(self) -> None:
        message = refusal("[server]\nport = -1\n[engine]\nconcurrency = 'many'\n")
        assert [line.split()[0] for line in message.splitlines()] == ["server.port", "engine.concurrency"]

    @pytest.mark.parametrize(
        ("section", "line"),
        [
            ("webhook", "timeout_secs = nan"),
            ("webhook", "timeout_secs = inf"),
            ("webhook", "timeout_secs = 0"),
            ("retry", "multiplier = 0.5"),
            ("engine", "concurrency = 0"),
            ("limits", "answer_bytes = 1"),
            ("database", "url = 'mysql://localhost/x'"),
            ("database", "url = 'sqlite://'"),
            ("database", "url = 'sqlite:///'"),
            ("collector", "endpoint = 'localhost:8400'"),
            ("server", "public_url = 'ftp://example.com'"),
            ("log", "level = 'loud'"),
        ],
    )
    def test_a_value_out_of_its_bounds_is_refused_by_name(self, section: str, line: str) -> None:
        assert refusal(f"[{section}]\n{line}\n").startswith(f"{section}.{line.split()[0]} (from config.toml): ")

    def test_a_lease_must_outlast_a_call(self) -> None:
        assert refusal("[webhook]\ntimeout_secs = 26\n") == (
            "engine.lease_secs (30) must be at least 5 more than webhook.timeout_secs (26)"
        )

    def test_the_longest_delay_is_not_the_shortest(self) -> None:
        assert refusal("[retry]\nmax_delay_secs = 4\n") == (
            "retry.max_delay_secs (4) must not be less than retry.initial_delay_secs (5)"
        )


class TestSecrets:
    SECRETS = """
        [database]
        url = "postgresql://me:hunter2@db/x"
        [security]
        master_key = "hunter2"
        admin_token = "hunter2"
        [cli]
        token = "hunter2"
    """

    def test_are_not_shown(self) -> None:
        settings = load_settings(write_config(self.SECRETS), {})
        assert "hunter2" not in f"{settings!r} {settings}"
        assert settings.database_url == "postgresql://me:hunter2@db/x"

    @pytest.mark.parametrize(
        "config",
        [
            "[database]\nurl = 'mysql://me:hunter2@db/x'",
            "[security]\nmaster_key = ['hunter2']",
            "[security]\nmaster = 'hunter2'",
            "[cli]\ntoken = {value = 'hunter2'}",
            "security = 'hunter2'",
        ],
    )
    def test_are_not_quoted_when_they_are_wrong(self, config: str) -> None:
        assert "hunter2" not in refusal(config)


class TestDerived:
    @pytest.mark.parametrize(
        ("server", "url"),
        [
            ({}, "http://127.0.0.1:8400"),
            ({"host": "0.0.0.0"}, "http://127.0.0.1:8400"),
            ({"host": "::"}, "http://[::1]:8400"),
            ({"host": "10.1.2.3", "port": 80}, "http://10.1.2.3:80"),
            ({"public_url": "https://tasks.example/base/"}, "https://tasks.example/base"),
        ],
    )
    def test_the_address_that_apps_see(self, server: dict[str, object], url: str) -> None:
        assert load_settings(None, {"server": server}).server.url() == url

    def test_the_address_with_a_port_of_the_systems_choice(self) -> None:
        assert load_settings(None, {"server": {"port": 0}}).server.url(bound_port=49_152) == "http://127.0.0.1:49152"

    def test_the_database_is_a_file_in_the_data_directory(self) -> None:
        assert Settings().database_url == "sqlite:///.orchestrator/orchestrator.db"
        settings = load_settings(None, {"server": {"data_dir": "/var/lib/tasks"}})
        assert settings.database_url == "sqlite:////var/lib/tasks/orchestrator.db"

    def test_a_postgres_url_gets_its_usual_scheme(self) -> None:
        assert load_settings(None, {"database": {"url": "postgres://db/x"}}).database_url == "postgresql://db/x"

    def test_a_home_directory_is_expanded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/home/me")
        assert load_settings(None, {"server": {"data_dir": "~/tasks"}}).server.data_dir == Path("/home/me/tasks")

    def test_settings_do_not_change(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            Settings().server.port = 1  # type: ignore[misc]
