"""The address policy: every special range at its edges, the public addresses beside it, every disguise."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from orchestrator.domain.outcome import FailureKind
from orchestrator.engine.addresses import AddressPolicy, special_use
from orchestrator.engine.target import Unreachable, read_url

# The IANA special-purpose registry, and multicast. Two of its blocks are anycast services that are reachable
# from everywhere (AS112, 192.31.196.0/24 and 192.175.48.0/24); the rest is not for a webhook.
SPECIAL_V4 = {
    "0.0.0.0/8": "this host",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "carrier-grade NAT",
    "127.0.0.0/8": "loopback",
    "168.63.129.16/32": "cloud metadata",
    "169.254.0.0/16": "link-local or cloud metadata",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "protocol assignments",
    "192.0.2.0/24": "documentation",
    "192.88.99.0/24": "6to4 relay",
    "192.168.0.0/16": "private",
    "198.18.0.0/15": "benchmarking",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
}

SPECIAL_V6 = {
    "::/128": "unspecified or IPv4-compatible",
    "::1/128": "loopback",
    "::7f00:1/128": "unspecified or IPv4-compatible",
    "64:ff9b:1::/48": "local NAT64",
    "100::/64": "discard",
    "100:0:0:1::/64": "not public",
    "2001::/32": "Teredo",
    "2001:2::/48": "protocol assignments",
    "2001:10::/28": "protocol assignments",
    "2001:20::/28": "protocol assignments",
    "2001:db8::/32": "documentation",
    "2002::/16": "6to4",
    "3fff::/20": "documentation",
    "4000::/3": "not public",
    "5f00::/16": "segment routing",
    "fc00::/7": "private",
    "fe80::/10": "link-local",
    "fec0::/10": "site-local",
    "ff00::/8": "multicast",
}

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "168.63.129.17",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2000::",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2001:db7:ffff::1",
    "2001:db9::1",
    "2003::1",
    "2606:4700::1111",
    "3ffe:ffff::1",
    "3fff:1000::1",
]

METADATA = [
    "169.254.169.254",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "fd00:ec2::254",
    "fd20:ce::254",
]


def edges(network: str) -> list[str]:
    parsed = IPv4Network(network) if "." in network else IPv6Network(network)
    middle = parsed.network_address + parsed.num_addresses // 2
    return [str(parsed.network_address), str(middle), str(parsed.broadcast_address)]


SPECIAL = [(address, use) for network, use in (SPECIAL_V4 | SPECIAL_V6).items() for address in edges(network)]


@pytest.mark.parametrize(("address", "use"), SPECIAL)
def test_a_special_address_is_named(address: str, use: str) -> None:
    assert special_use(address) == use


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_public(address: str) -> None:
    assert special_use(address) is None


@pytest.mark.parametrize("address", METADATA)
def test_no_cloud_gives_its_credentials_away(address: str) -> None:
    assert special_use(address) is not None


@pytest.mark.parametrize("address", [*(a for n in SPECIAL_V4 for a in edges(n)), *(a for a in PUBLIC if "." in a)])
def test_an_address_in_another_is_judged_as_itself(address: str) -> None:
    number = int(IPv4Address(address))
    mapped = IPv6Address(0xFFFF_0000_0000 + number)
    nat64 = IPv6Address(int(IPv6Address("64:ff9b::")) + number)

    assert special_use(str(mapped)) == special_use(str(nat64)) == special_use(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "10.0.0.1", "8.8.8.8"])
def test_a_tunnel_is_not_public_wherever_it_leads(address: str) -> None:
    number = int(IPv4Address(address))
    sixtofour = IPv6Address((0x2002 << 112) + (number << 80) + 1)
    teredo_server = IPv6Address((0x2001_0000 << 96) + (number << 64))
    teredo_client = IPv6Address((0x2001_0000 << 96) + (number ^ 0xFFFF_FFFF))
    compatible = IPv6Address(number)
    translated = IPv6Address((0xFFFF << 48) + number)

    for disguised in (sixtofour, teredo_server, teredo_client, compatible, translated):
        assert special_use(str(disguised)) is not None


def test_a_zone_does_not_hide_a_link_local_address() -> None:
    assert special_use("fe80::1%eth0") == "link-local"


def refusal(policy: AddressPolicy, url: str, *addresses: str) -> str | None:
    try:
        policy.check(read_url(url), addresses)
    except Unreachable as error:
        return error.message if error.kind is FailureKind.ADDRESS_REFUSED else f"not refused, but {error.kind}"
    return None


def test_one_inside_address_among_public_ones_is_enough_to_refuse() -> None:
    policy = AddressPolicy.of(False, ())

    assert refusal(policy, "https://app.test/", "8.8.8.8", "1.1.1.1") is None
    assert refusal(policy, "https://app.test/", "8.8.8.8", "10.0.0.1") == (
        "not called: app.test resolves to 10.0.0.1 (private), neither a public address nor one of the allowed hosts"
    )
    assert refusal(policy, "https://10.0.0.1/", "10.0.0.1") == (
        "not called: 10.0.0.1 (private), neither a public address nor one of the allowed hosts"
    )


def test_in_development_everything_may_be_called() -> None:
    policy = AddressPolicy.of(True, ())

    assert [address for address, _ in SPECIAL if refusal(policy, "http://app.test/", address)] == []


@pytest.mark.parametrize(
    ("entry", "url", "address"),
    [
        ("app.internal", "https://app.internal/", "10.1.2.3"),
        ("App.Internal", "https://APP.internal:8443/", "10.1.2.3"),
        ("app.internal:8443", "https://app.internal:8443/", "10.1.2.3"),
        ("app.internal:443", "https://app.internal/", "10.1.2.3"),
        ("10.1.2.3", "https://app.internal/", "10.1.2.3"),
        ("10.0.0.0/8", "https://app.internal/", "::ffff:10.1.2.3"),
        ("10.0.0.0/8", "https://app.internal/", "64:ff9b::a01:203"),
        ("[::1]", "https://[::1]/", "::1"),
        ("[::1]:8443", "https://[::1]:8443/", "::1"),
        ("fd00::/8", "https://app.internal/", "fd12::1"),
    ],
)
def test_a_listed_host_may_be_called(entry: str, url: str, address: str) -> None:
    assert refusal(AddressPolicy.of(False, (entry,)), url, address) is None


@pytest.mark.parametrize(
    ("entry", "url", "address"),
    [
        ("app.internal", "https://other.internal/", "10.1.2.3"),
        ("internal", "https://app.internal/", "10.1.2.3"),
        ("app.internal:8443", "https://app.internal/", "10.1.2.3"),
        ("10.1.2.3", "https://app.internal/", "10.1.2.4"),
        ("10.0.0.0/8", "https://app.internal/", "127.0.0.1"),
        ("::1", "https://app.internal/", "127.0.0.1"),
        ("0.0.0.0/0", "https://app.internal/", "::1"),
    ],
)
def test_the_list_allows_only_what_it_says(entry: str, url: str, address: str) -> None:
    assert refusal(AddressPolicy.of(False, (entry,)), url, address) is not None


@pytest.mark.parametrize(
    "entry", ["", "*", "*.internal", "10.0.0.5/8", "http://app.internal", "app:port", "a b", ":80"]
)
def test_an_entry_that_says_nothing_is_refused_at_the_start(entry: str) -> None:
    with pytest.raises(ValueError, match="is not a host name, host:port, IP address or network"):
        AddressPolicy.of(False, ("app.internal", entry))
