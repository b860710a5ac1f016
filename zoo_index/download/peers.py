"""Addresses that a request may end at: a server leads to none that its own address is not like.

A redirect or a name that somebody else controls could make this machine ask what only it can reach:
its own services, a private network, a cloud's metadata service. Whoever named the first address
decides: the user may name any, an index or a lock (`Namer`) not.

Source: OWASP, "Server-Side Request Forgery Prevention"; RFC 6890; the clouds' documentation.
"""

import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from onnxzoo.registry.core.errors import Refused

GLOBAL = "the internet"
_THIS_MACHINE = "this machine"
_PRIVATE = "a private network"
_LINK = "this machine's own link, or a cloud's metadata service"
# Metadata services beside link-local ones: Alibaba, Azure, Oracle, AWS.
_METADATA = {
    ip_address(text)
    for text in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254")
}
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits
_COMPATIBLE = IPv6Network("::/96")  # RFC 4291, 2.5.5.1


def kind_of(address: str) -> str:
    """Return the kind of network that an IP address belongs to.

    >>> kind_of("93.184.215.14"), kind_of("::ffff:10.0.0.1"), kind_of("127.0.0.1")
    ('the internet', 'a private network', 'this machine')
    """
    found = _plain(ip_address(address.partition("%")[0]))
    if found.is_loopback or found.is_unspecified:
        return _THIS_MACHINE
    if found.is_link_local or found in _METADATA:
        return _LINK
    return GLOBAL if found.is_global and not found.is_multicast else _PRIVATE


def kind_of_host(host: str) -> str:
    """Return the kind of network of a host by its text alone, where a proxy looks its name up.

    >>> kind_of_host("localhost"), kind_of_host("2130706433"), kind_of_host("example.org")
    ('this machine', 'this machine', 'the internet')
    """
    host = host.strip("[]").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return _THIS_MACHINE
    try:
        return kind_of(host)
    except ValueError:
        pass
    try:  # 127.1, 0x7f000001: what resolvers take, too
        return kind_of(socket.inet_ntoa(socket.inet_aton(host)))
    except (OSError, UnicodeError):
        return GLOBAL


@dataclass(frozen=True, slots=True)
class Namer:
    """An index, a lock or a record that names the address of a source, in the place of the user.

    Attributes:
        shown: for messages: ``the index `https://…```.
        network: the kind of network that it was fetched from; None for a file of the user's own.
    """

    shown: str
    network: str | None = None

    def check_network(self, host: str, kind: str) -> None:
        """Raise Refused if it may not name an address of this kind.

        What came over a network may name the internet and its own kind of network; a file of the
        user's may name any but this machine's own link, where no models are.
        """
        if kind in {GLOBAL, self.network} or (self.network is None and kind != _LINK):
            return
        at = "" if self.network is None else f", which came from {self.network},"
        raise Refused(
            f"{self.shown}{at} names `{host}` on {kind}, which is not asked",
            hint="if it is what you want, name that address yourself: zoo pull URL"
            if self.network is None
            else "if you trust it, keep it in a file here and name that instead: ZOO_INDEX=FILE",
        )


class Hops:
    """The kinds of network that one request is led through.

    Args:
        named_by: who named where it begins; None for the user, who may name any address.
    """

    def __init__(self, named_by: Namer | None = None) -> None:
        self._named_by = named_by
        self._first: str | None = None

    @property
    def first(self) -> str | None:
        """The kind of network where the last request began; None before any."""
        return self._first

    def start(self) -> None:
        """Forget the hops of an earlier request."""
        self._first = None

    def check(self, host: str, kind: str, *, encrypted: bool) -> None:
        """Take a hop, before anything is asked of it.

        Raises:
            Refused: if it is of another kind than the first and not on the internet, or leaves the
                user's own network without encryption; or if whoever named the first may not.
        """
        if self._first is None:
            if self._named_by is not None:
                self._named_by.check_network(host, kind)
            self._first = kind
        if kind == self._first or (kind == GLOBAL and encrypted):
            return
        how = kind if kind != GLOBAL else f"{kind} without encryption"
        raise Refused(
            f"a server on {self._first} leads to `{host}` on {how}, which is not followed",
            hint="name that address yourself if it is what you want",
        )


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 one stands for, if it stands for one."""
    if isinstance(address, IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and (
        address in _NAT64 or (address in _COMPATIBLE and int(address) > 1)  # not :: and ::1
    ):
        inner = IPv4Address(int(address) & 0xFFFFFFFF)
    return inner or address
