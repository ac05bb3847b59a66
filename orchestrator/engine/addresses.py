"""Where a call may connect to, decided on every address that a name resolved to, just before the connection.

Python's own tables are not used: `ipaddress` takes NAT64, 6to4 and 192.0.0.192 for public addresses, and
what it says differs between patch releases. The tables below are the IANA special-purpose registries, plus
the public address at which a cloud serves metadata to its machines.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

from orchestrator.domain.outcome import FailureKind
from orchestrator.engine.target import Target, Unreachable

_SPECIAL_V4 = tuple(
    (IPv4Network(network), name)
    for network, name in (
        ("0.0.0.0/8", "this host"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "cloud metadata"),
        ("169.254.0.0/16", "link-local or cloud metadata"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "protocol assignments"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)

# Only 2000::/3 is given out for public use; these parts of it are not, and nothing outside it is.
_PUBLIC_V6 = IPv6Network("2000::/3")
_SPECIAL_V6 = tuple(
    (IPv6Network(network), name)
    for network, name in (
        ("::1/128", "loopback"),
        ("::/96", "unspecified or IPv4-compatible"),
        ("64:ff9b:1::/48", "local NAT64"),
        ("100::/64", "discard"),
        ("2001::/32", "Teredo"),
        ("2001::/23", "protocol assignments"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "documentation"),
        ("5f00::/16", "segment routing"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")


def special_use(address: str) -> str | None:
    """What `address` is set aside for ("loopback", "private" ...), or None for a public address.

    An IPv4 address inside an IPv6 one (mapped, NAT64) is judged as itself. Tunnels (6to4, Teredo) are never
    public here, whatever they lead to. Raises ValueError for what is not an IP address.
    """
    parsed = _unwrapped(address)
    if isinstance(parsed, IPv4Address):
        return next((name for network, name in _SPECIAL_V4 if parsed in network), None)
    name = next((name for network, name in _SPECIAL_V6 if parsed in network), None)
    return name or (None if parsed in _PUBLIC_V6 else "not public")


def _unwrapped(address: str) -> IPv4Address | IPv6Address:
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return parsed.ipv4_mapped
        if parsed in _NAT64:
            return IPv4Address(int(parsed) & 0xFFFF_FFFF)
    return parsed


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """Which addresses may be connected to: the public ones, and what the operator allowed."""

    allow_private_addresses: bool
    allowed_names: frozenset[str] = frozenset()
    allowed_networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def of(cls, allow_private_addresses: bool, allowed_hosts: Sequence[str]) -> Self:
        """Read the operator's list: host names ("app.internal", "app.internal:8080"), addresses, networks.

        A name allows whatever it resolves to. Raises ValueError naming an entry that is none of these.
        """
        names, networks = set(), []
        for entry in allowed_hosts:
            try:
                networks.append(ip_network(entry.strip("[]")))
            except ValueError:
                names.add(_checked_name(entry))
        return cls(allow_private_addresses, frozenset(names), tuple(networks))

    def check(self, target: Target, addresses: Sequence[str]) -> None:
        """Raise Unreachable (ADDRESS_REFUSED) unless every one of the target's `addresses` is allowed."""
        if self.allow_private_addresses or not self.allowed_names.isdisjoint({target.host, str(target)}):
            return
        for address in addresses:
            use = special_use(address)
            if use is not None and not self._is_listed(address):
                shown = address if address == target.host else f"{target.host} resolves to {address}"
                raise Unreachable(
                    FailureKind.ADDRESS_REFUSED,
                    f"not called: {shown} ({use}), neither a public address nor one of the allowed hosts",
                )

    def _is_listed(self, address: str) -> bool:
        parsed = _unwrapped(address)
        # Comparing a network with an address of the other family is False, not an error.
        return any(parsed in network for network in self.allowed_networks)


def _checked_name(entry: str) -> str:
    name, _, port = entry.lower().rpartition(":") if ":" in entry else (entry.lower(), "", "")
    if port and not port.isdecimal():
        name = ""
    if not name or not all(part.isalnum() or part in "-._[]:" for part in name):
        raise ValueError(f"{entry!r} is not a host name, host:port, IP address or network")
    return entry.lower()
