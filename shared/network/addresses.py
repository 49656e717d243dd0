"""Where the service may connect to: host names by pattern, and the addresses behind them.

A listed name says which host the operator trusts; only the address says where a connection goes. So the
service checks both, the address each time it connects, and it connects to the address that it checked
(shared/network/outbound.py).
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from shared.errors import HostNotAllowed
from shared.settings import Settings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolver = Callable[[str, int], Sequence[str]]
"""(host, port) -> every address of the host, as text. Raises socket.gaierror where it has none."""

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost"})
_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))

# IANA's registries of special-purpose addresses, without the globally reachable ones, and multicast.
# ipaddress.is_global is not used: its answer differs between releases of Python 3.11, 3.12 and 3.13.
_SPECIAL = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",  # shared by carriers; Alibaba's metadata
            "127.0.0.0/8",
            "168.63.129.16/32",  # a public number, but Azure's channel from a machine to its host
            "169.254.0.0/16",  # link-local, with the metadata of most clouds
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
            "2001::/23",  # with Teredo, whose addresses embed an IPv4 address
            "2001:db8::/32",
            "2002::/16",  # 6to4, whose addresses embed one too
            "3fff::/20",
        ),
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")

_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_AUTHORITY = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PORTS = {"https": 443, "http": 80}


# ---------------------------------------------------------------- names


@dataclass(frozen=True)
class Endpoint:
    """Scheme, host in lower case, and port, which is always given."""

    scheme: str
    host: str
    port: int

    @property
    def origin(self) -> str:
        """Scheme, host and port as in a URL: without the scheme's default port."""
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"


def parse_endpoint(url: str) -> tuple[Endpoint, SplitResult]:
    """(the endpoint, the URL's parts). Raises ValueError; its message completes the sentence "The URL ...".

    URL parsers agree only on plain host names, and the host that is checked here must be the host that is
    connected to. So this refuses a user, brackets, a dot at the end, a backslash and letters outside ASCII
    (a name in another script is written in punycode), and an IPv4 address unless it is four decimal numbers.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("cannot be parsed") from None
    if not _HOST.fullmatch(host) or not _AUTHORITY.fullmatch(parts.netloc) or port == 0:
        raise ValueError("must name a plain host, and no user")
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("must name a plain host, and no user")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            IPv4Address(host)
        except ValueError:
            raise ValueError("must write an address as four decimal numbers") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and host in LOOPBACK_HOSTS):
        raise ValueError("must begin with https:// (http only for this machine)")
    return Endpoint(parts.scheme, host, port or _PORTS[parts.scheme]), parts


def origin_of(url: str) -> Endpoint:
    """The endpoint of a URL from the operator's settings, unchecked."""
    parts = urlsplit(url)
    return Endpoint(parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme])


def is_listed(endpoint: Endpoint, patterns: Iterable[str]) -> bool:
    """Whether a pattern matches. `*.example.net` matches every host below example.net. A pattern without a
    port means the scheme's default port, since other ports of a host are other services."""
    return any(_matches(endpoint, pattern) for pattern in patterns)


def _matches(endpoint: Endpoint, pattern: str) -> bool:
    name, _, port = pattern.lower().partition(":")
    if (port or str(_PORTS[endpoint.scheme])) != str(endpoint.port):
        return False
    if name.startswith("*."):
        return endpoint.host.endswith(name[1:])
    return endpoint.host == name


# ---------------------------------------------------------------- addresses


def is_public(address: Address) -> bool:
    """Whether an address is a public one on the internet: not private, loopback, link-local, shared,
    multicast, reserved, or a cloud's metadata. A mapped or NAT64 address counts as the IPv4 one inside it."""
    inside = _unwrapped(address)
    if isinstance(inside, IPv6Address) and inside not in _GLOBAL_UNICAST:
        return False
    return not _lies_in(inside, _SPECIAL)


def _unwrapped(address: Address) -> Address:
    """The IPv4 address inside a mapped or NAT64 address, where a connection would go; else the address."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _lies_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def resolve(host: str, port: int) -> list[str]:
    """The host's addresses, by the system's resolver, each once. Raises socket.gaierror."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(frozen=True)
class Guard:
    """Decides to which addresses the service may connect."""

    networks: tuple[Network, ...] = ()
    """Networks that are allowed although they are not public: settings.allowed_networks."""
    resolve: Resolver = resolve

    @classmethod
    def of(cls, settings: Settings) -> Guard:
        return cls(settings.allowed_networks)

    def addresses(self, host: str, port: int) -> list[str]:
        """Every address of a host, all of them checked.

        Raises HostNotAllowed where one of them is not allowed, even if others are: a name with a public and a
        private address is no accident. Raises socket.gaierror where the name has no address.
        """
        found = list(self.resolve(host, port))
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        if not all(self._allowed(host, text) for text in found):
            raise HostNotAllowed(f"The host {host} has an address that is neither public nor on the list.")
        return found

    def _allowed(self, host: str, text: str) -> bool:
        try:
            address = ip_address(text)
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.scope_id:  # a scope means a link-local address
            return False
        # An operator who lists this machine's own name allows this machine.
        networks = (*self.networks, *_LOOPBACK) if host in LOOPBACK_HOSTS else self.networks
        inside = _unwrapped(address)
        return is_public(address) or _lies_in(address, networks) or _lies_in(inside, networks)
