"""Hosts: the one spelling of a host name or an IP address, and which IP addresses no node has."""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address

import idna

from infernet_router.quoting import quoted

_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?")
"""
A name that DNS, /etc/hosts or Docker may know. These are more than the host names of RFC 952: a
label may have underscores, hyphens anywhere, or an xn-- that is not punycode.
"""
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""The last label of what browsers read as an IPv4 address or refuse: https://url.spec.whatwg.org/"""
_MULTICAST = re.compile("ff[0-9a-f]{2}:")
_MAX_NAME = 253
"""The most characters of a DNS name (RFC 1035, section 2.3.4)."""


class BadAddress(ValueError):
    """A text that is not an address; the message tells the operator who wrote it why."""


def url_host(text: str) -> str:
    """
    A host as a URL has it: ASCII, lower case, an IPv6 address in brackets.

    An IPv4-mapped IPv6 address becomes the IPv4 address, which is where it leads.

    :raises BadAddress: when `text` is neither a name nor an IP address that a node may have.
    """
    if text.startswith("["):
        return _url_host_of_ipv6(text)
    if not text:
        raise BadAddress("the host is missing")
    if len(text.removesuffix(".")) > _MAX_NAME:
        raise _not_a_host(text, f"the name is longer than {_MAX_NAME} characters")
    host = text.lower() if text.isascii() else _ascii(text)
    if not _NAME.fullmatch(host) or len(host.removesuffix(".")) > _MAX_NAME:
        raise _not_a_host(text, _why_not_a_name(text, host))
    if _NUMBER.fullmatch(host.removesuffix(".").rpartition(".")[2]):
        if not is_ipv4(host):
            raise BadAddress(
                f"{text} is not an IPv4 address (four numbers from 0 to 255, without leading zeros)"
            )
        _refuse(host)
    return host


def is_ipv4(host: str) -> bool:
    """Whether a host is an IPv4 address: four decimal numbers without leading zeros."""
    try:
        IPv4Address(host)
    except AddressValueError:
        return False
    return True


def is_ipv6(text: str) -> bool:
    """Whether a text is an IPv6 address, perhaps with a zone such as %eth0."""
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True


def not_a_node(ip: str) -> str:
    """
    What an IP address stands for, if that is not one host; "" otherwise.

    :param ip: an IP address in its usual spelling, without brackets.
    """
    if ":" in ip:
        mapped = IPv6Address(ip).ipv4_mapped if ip.startswith("::ffff:") else None
        if mapped is not None:
            return not_a_node(str(mapped))
        if ip == "::":
            return "the unspecified address"
        return "a multicast address" if _MULTICAST.match(ip) else ""
    first = int(ip.partition(".")[0])
    if first == 0:
        return "an address of 0.0.0.0/8, which no host has"
    if 224 <= first < 240:
        return "a multicast address"
    return "the broadcast address" if ip == "255.255.255.255" else ""


def _refuse(ip: str) -> None:
    """Refuse an IP address that no node may have."""
    if what := not_a_node(ip):
        raise BadAddress(f"{ip} is not the address of a node, but {what}")


def _url_host_of_ipv6(text: str) -> str:
    """An IPv6 address in brackets as a URL has it; an IPv4-mapped one is an IPv4 address."""
    try:
        if "%" in text:  # a zone names an interface of one machine, and no URL may hold it
            raise AddressValueError
        address = IPv6Address(text[1:-1])
    except AddressValueError:
        raise BadAddress(f"{quoted(text)} is not an IPv6 address in brackets") from None
    mapped = address.ipv4_mapped
    ip = str(mapped or address)
    _refuse(ip)
    return ip if mapped else f"[{ip}]"


def _ascii(text: str) -> str:
    """A host name with characters outside ASCII, as DNS has it: https://unicode.org/reports/tr46/"""
    try:
        labels = idna.uts46_remap(text, std3_rules=False).split(".")
        return ".".join(
            label if label.isascii() else idna.alabel(label).decode() for label in labels
        )
    except idna.IDNAError as error:
        for label in text.split("."):
            strange = re.search("[!-,/:-@[-`{-~]", label)
            if strange and not label.isascii():
                why = f"a part with letters outside ASCII may not contain {quoted(strange[0])}"
                raise _not_a_host(text, why) from None
        raise _not_a_host(text, str(error)) from None


def _not_a_host(text: str, why: str) -> BadAddress:
    return BadAddress(f"{quoted(text)} is not a host name or an IP address: {why}")


def _why_not_a_name(text: str, host: str) -> str:
    """
    Why a text is not a name.

    :param host: the text as DNS would have it.
    """
    if strange := re.search(r"[^\w.-]", text, re.ASCII if text.isascii() else re.UNICODE):
        return f"a name may not contain {quoted(strange[0])}"
    if len(host.removesuffix(".")) > _MAX_NAME:
        return f"the name is longer than {_MAX_NAME} characters"
    if any(len(label) > 63 for label in host.split(".")):
        return "a part between dots is longer than 63 characters"
    return "there is nothing before, or between, the dots"
