"""Says in plain words why TLS with a node failed, from what OpenSSL says."""

from OpenSSL import SSL

_UNTRUSTED = {
    7: "a signature is wrong (certificate signature failure)",
    9: "certificate is not yet valid",
    10: "certificate has expired",
    18: "self-signed certificate",
    19: "the authority that issued it is not known (self-signed certificate in certificate chain)",
    20: "an intermediate certificate is missing, or the authority that issued it is not known"
    " (unable to get local issuer certificate)",
    21: "an intermediate certificate is missing (unable to verify the first certificate)",
    22: "the chain has too many certificates (certificate chain too long)",
    23: "certificate has been revoked",
    24: "one that issued another does not belong to an authority (invalid CA certificate)",
    25: "there are more intermediate certificates than their authority allows"
    " (path length constraint exceeded)",
    26: "it was not issued for a server (unsuitable certificate purpose)",
    47: "its authority may not issue it for this name (permitted subtree violation)",
    48: "its authority may not issue it for this name (excluded subtree violation)",
    66: "its key is too short (EE certificate key too weak)",
    67: "the key of its authority is too short (CA certificate key too weak)",
    68: "a signature uses an outdated algorithm (CA signature digest algorithm too weak)",
}
"""By OpenSSL's X509_V_ERR number, why it does not trust a certificate."""

_REFUSED = "it refuses the handshake; the router needs TLS 1.3, or 1.2 with ECDHE"
_OLD = "there is no common version: the router needs TLS 1.2 or 1.3"
_NO_TLS = "there is no TLS at this port"
_FAILURES = {
    "handshake failure": _REFUSED,
    "cipher returned": _REFUSED,
    "insufficient security": _REFUSED,
    "protocol version": _OLD,
    "unsupported protocol": _OLD,
    "version too low": _OLD,
    "wrong version number": _NO_TLS,
    "packet length too long": _NO_TLS,
    "record layer failure": _NO_TLS,
    "unrecognized name": "it does not know the host name of its address",
    "certificate required": "it demands a certificate of the router, which has none",
    "excessive message size": "one of its handshake messages is too long",
    "renegotiation": "it wants to renegotiate, which the router does not do",
}
"""By a part of OpenSSL's reason, why TLS failed."""


def why_untrusted(number: int) -> str:
    """Why OpenSSL does not trust a certificate, by the number of its error."""
    return f"the certificate is not trusted: {_UNTRUSTED.get(number, f'OpenSSL error {number}')}"


def why_failed(error: SSL.Error) -> str:
    """Why TLS failed, with what OpenSSL says."""
    said = ", ".join(part[2] for part in error.args[0])
    for part, words in _FAILURES.items():
        if part in said:
            return f"TLS failed: {words} ({said})"
    return f"TLS failed: {said}"
