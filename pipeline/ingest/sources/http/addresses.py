"""Which IP addresses are on the public internet. All others are refused, in whatever notation."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_CLOUD = (IPv4Network("168.63.129.16/32"), IPv4Network("192.0.0.0/24"))  # metadata services of Azure and Oracle


def refusal(address: str) -> str:
    """Return why requests to an IP address are refused; empty for an address on the public internet.

    For an IPv4 address embedded in an IPv6 address (mapped, NAT64, 6to4, Teredo), the IPv4 address decides.
    """
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        inner = _inside(ip)
        if inner is not None:
            return refusal(str(inner))
        if ip not in _UNICAST:
            return _kind(ip) or "not a public address"
    elif any(ip in network for network in _CLOUD):
        return "a metadata address"
    return "" if ip.is_global and not ip.is_multicast else _kind(ip) or "not a public address"


def _inside(ip: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address embedded in an IPv6 address, or None."""
    if ip.teredo is not None:
        return ip.teredo[1]
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour


def _kind(ip: IPv4Address | IPv6Address) -> str:
    kinds = {
        "a loopback address": ip.is_loopback,
        "not a host address": ip.is_unspecified or ip.is_multicast,
        "a link-local address": ip.is_link_local,
        "a private address": ip.is_private,
    }
    return next((kind for kind, applies in kinds.items() if applies), "")
