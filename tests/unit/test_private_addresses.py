"""Whether apps may live at private addresses, where nobody says so."""

import pytest

from orchestrator.settings import load_settings

pytestmark = pytest.mark.usefixtures("nowhere")


@pytest.mark.parametrize(
    ("host", "given", "allowed"),
    [
        ("127.0.0.1", None, True),
        ("localhost", None, True),
        ("::1", None, True),
        ("0.0.0.0", None, False),
        ("tasks.example", None, False),
        ("0.0.0.0", True, True),
        ("127.0.0.1", False, False),
    ],
)
def test_private_addresses_by_default_only_on_loopback(host: str, given: bool | None, allowed: bool) -> None:
    flags: dict[str, dict[str, object]] = {
        "server": {"host": host},
        "webhook": {"allow_private_addresses": given},
    }
    assert load_settings(None, flags).private_addresses_allowed is allowed


@pytest.mark.parametrize(
    ("public_url", "allowed"),
    [
        ("http://127.0.0.1:9000", True),
        ("http://localhost/base", True),
        ("http://[::1]:9000", True),
        ("https://tasks.example", False),
        ("https://127.0.0.1.tasks.example", False),
        ("http://10.1.2.3", False),
    ],
)
def test_nor_while_a_proxy_opens_the_api_to_others(public_url: str, allowed: bool) -> None:
    flags: dict[str, dict[str, object]] = {"server": {"public_url": public_url}}
    assert load_settings(None, flags).private_addresses_allowed is allowed
    flags["webhook"] = {"allow_private_addresses": True}
    assert load_settings(None, flags).private_addresses_allowed is True


@pytest.mark.parametrize(("role", "allowed"), [("all", True), ("api", True), ("engine", False)])
def test_nor_on_a_node_that_does_not_serve_the_api(role: str, allowed: bool) -> None:
    flags: dict[str, dict[str, object]] = {
        "server": {"role": role, "public_url": "http://127.0.0.1:9000"},
        "database": {"url": "postgresql://db/x"},
    }
    assert load_settings(None, flags).private_addresses_allowed is allowed
    flags["webhook"] = {"allow_private_addresses": True}
    assert load_settings(None, flags).private_addresses_allowed is True
