"""Makes the certificates that nobody should issue, and the good ones that they differ from.

A certificate is described by a `Link` of a chain; its defaults are those of a good one. `certificates.py` has
those of every other test. No sockets here, and no contexts.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import hashlib
import ipaddress
from collections.abc import Mapping
from typing import Any, TypeAlias

import der
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa

HOST = "srv.example.test"

Key: TypeAlias = (
    ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)

NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)

CURVES: dict[str, type[ec.EllipticCurve]] = {
    "p224": ec.SECP224R1,
    "p256": ec.SECP256R1,
    "p384": ec.SECP384R1,
    "p521": ec.SECP521R1,
    "k1": ec.SECP256K1,
    "bp": ec.BrainpoolP256R1,
}
PUBLIC_EXPONENT = 65537

DIGESTS: dict[str, type[hashes.HashAlgorithm]] = {
    "md5": hashes.MD5,
    "sha1": hashes.SHA1,
    "sha224": hashes.SHA224,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
# The names of signatures (RFC 8017 appendix A.2, RFC 5758 section 3.2, RFC 8410 section 3).
RSA_SIGNATURES = {
    "md5": "1.2.840.113549.1.1.4",
    "sha1": "1.2.840.113549.1.1.5",
    "sha256": "1.2.840.113549.1.1.11",
    "sha384": "1.2.840.113549.1.1.12",
    "sha512": "1.2.840.113549.1.1.13",
    "sha224": "1.2.840.113549.1.1.14",
}
EC_SIGNATURES = {
    "sha1": "1.2.840.10045.4.1",
    "sha224": "1.2.840.10045.4.3.1",
    "sha256": "1.2.840.10045.4.3.2",
    "sha384": "1.2.840.10045.4.3.3",
    "sha512": "1.2.840.10045.4.3.4",
}
PSS, MGF1, SHA256 = "1.2.840.113549.1.1.10", "1.2.840.113549.1.1.8", "2.16.840.1.101.3.4.2.1"
PSS_SALT = 32
ED25519, ED448 = "1.3.101.112", "1.3.101.113"

# Attributes of a name (RFC 4519), by the short names of RFC 4514.
ATTRIBUTES = {"CN": "2.5.4.3", "O": "2.5.4.10", "OU": "2.5.4.11"}

# Extensions (RFC 5280 section 4.2).
SKI, KU, SAN, BC, NC, AKI, EKU = (f"2.5.29.{number}" for number in (14, 15, 17, 19, 30, 35, 37))
CRL_NUMBER = "2.5.29.20"

# Bits of the key usage (RFC 5280 section 4.2.1.3).
DIGITAL_SIGNATURE, KEY_ENCIPHERMENT, KEY_CERT_SIGN, CRL_SIGN = 0, 2, 5, 6
AUTHORITY_USAGE = (KEY_CERT_SIGN, CRL_SIGN)

# Purposes of a key (RFC 5280 section 4.2.1.12), and one of a time when strong ciphers were a privilege.
SERVER, CLIENT, CODE = (f"1.3.6.1.5.5.7.3.{number}" for number in (1, 2, 3))
ANY_PURPOSE = "2.5.29.37.0"
NETSCAPE_SGC = "2.16.840.1.113730.4.1"

# `("CN=root", "O=a")`, or nothing.
Name: TypeAlias = tuple[str, ...]
# `("dns:a.test", "ip:127.0.0.1")`; the kinds are those of `general_name`.
Names: TypeAlias = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Link:
    """One certificate of a chain. The defaults, with `ca` and the rest of `ROLES`, make a good one."""

    # Whose certificate this is; a subject and a key of its own come with it.
    label: str
    # The label of who signs, its own for a root.
    by: str
    key: str = "p256"
    # The label whose key this is, if not its own.
    key_of: str | None = None
    subject: Name | None = None
    # What the certificate says of who signed it, if not the truth.
    issuer: Name | None = None
    version: int = 3
    serial: int | None = None
    # Days from now.
    since: int = -30
    until: int = 30
    digest: str = "sha256"
    pss: bool = False
    # `None`: no basic constraints at all.
    ca: bool | None = None
    pathlen: int | None = None
    bc_critical: bool = True
    ku: tuple[int, ...] | None = None
    eku: tuple[str, ...] | None = None
    eku_critical: bool = False
    san: Names | None = None
    san_critical: bool = False
    ski: bool = True
    # `None`: none. `True`: the issuer's. `False`: somebody else's.
    aki: bool | None = True
    permitted: Names = ()
    excluded: Names = ()
    # More extensions: `(oid, is_critical, value)`.
    more: tuple[tuple[str, bool, bytes], ...] = ()
    is_damaged: bool = False


# What makes a good certificate of each role; a root names no other authority.
ROLES: dict[str, dict[str, Any]] = {
    "root": {"ca": True, "ku": AUTHORITY_USAGE, "aki": None},
    "inter": {"ca": True, "ku": AUTHORITY_USAGE},
    "leaf": {"ca": False, "ku": (DIGITAL_SIGNATURE,), "eku": (SERVER,), "san": (f"dns:{HOST}",)},
}


@functools.cache
def key(label: str, kind: str) -> Key:
    """Everybody has one key of each kind."""
    if kind == "ed":
        return ed25519.Ed25519PrivateKey.generate()
    if kind == "ed448":
        return ed448.Ed448PrivateKey.generate()
    if kind.startswith("rsa"):
        return rsa.generate_private_key(PUBLIC_EXPONENT, int(kind[3:]))
    return ec.generate_private_key(CURVES[kind]())


def key_pem(link: Link) -> bytes:
    return _key(link).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _key(link: Link) -> Key:
    return key(link.key_of or link.label, link.key)


def _public(key: Key) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _algorithm(key: Key, digest: str, pss: bool) -> bytes:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return der.sequence(der.oid(ED25519))
    if isinstance(key, ed448.Ed448PrivateKey):
        return der.sequence(der.oid(ED448))
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return der.sequence(der.oid(EC_SIGNATURES[digest]))
    null = der.tlv(der.NULL)
    if not pss:
        return der.sequence(der.oid(RSA_SIGNATURES[digest]), null)
    sha256 = der.sequence(der.oid(SHA256), null)
    parameters = der.sequence(
        der.explicit(0, sha256),
        der.explicit(1, der.sequence(der.oid(MGF1), sha256)),
        der.explicit(2, der.integer(PSS_SALT)),
    )
    return der.sequence(der.oid(PSS), parameters)


def _signed(key: Key, body: bytes, algorithm: bytes, digest: str, *, pss: bool, is_damaged: bool) -> bytes:
    """`body` with its signature: a certificate, or a list of revoked ones."""
    made = DIGESTS[digest]()
    if isinstance(key, rsa.RSAPrivateKey):
        pad = padding.PSS(padding.MGF1(hashes.SHA256()), PSS_SALT) if pss else padding.PKCS1v15()
        signature = key.sign(body, pad, made)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        signature = key.sign(body, ec.ECDSA(made))
    else:
        signature = key.sign(body)
    if is_damaged:
        signature = signature[:-1] + bytes([signature[-1] ^ 1])
    return der.sequence(body, algorithm, der.bits(signature))


def _name(name: Name) -> bytes:
    parts = []
    for part in name:
        kind, _, value = part.partition("=")
        pair = der.sequence(der.oid(ATTRIBUTES[kind]), der.tlv(der.UTF8, value.encode()))
        parts.append(der.tlv(der.SET, pair))
    return der.sequence(*parts)


def general_name(text: str) -> bytes:
    """`dns:`, `email:`, `uri:`, `ip:` (a network in constraints), `dir:` and a name's parts after `/`."""
    kind, _, value = text.partition(":")
    if kind == "dir":
        return der.explicit(4, _name(tuple(value.split("/"))))
    if kind == "ip" and "/" in value:
        network = ipaddress.ip_network(value)
        return der.implicit(7, network.network_address.packed + network.netmask.packed)
    if kind == "ip":
        return der.implicit(7, ipaddress.ip_address(value).packed)
    return der.implicit({"email": 1, "dns": 2, "uri": 6}[kind], value.encode())


def _extension(kind: str, value: bytes, critical: bool) -> bytes:
    flag = der.boolean(True) if critical else b""
    return der.sequence(der.oid(kind), flag, der.tlv(der.OCTETS, value))


def _identifier(key: Key) -> bytes:
    return hashlib.sha1(_public(key)).digest()


def _extensions(link: Link, issuer: Link) -> bytes:
    made = []
    if link.ca is not None:
        pathlen = b"" if link.pathlen is None else der.integer(link.pathlen)
        constraints = der.sequence(der.boolean(True) if link.ca else b"", pathlen)
        made.append(_extension(BC, constraints, link.bc_critical))
    if link.ku is not None:
        made.append(_extension(KU, der.named_bits(link.ku), True))
    if link.eku is not None:
        made.append(_extension(EKU, der.sequence(*map(der.oid, link.eku)), link.eku_critical))
    if link.san is not None:
        made.append(_extension(SAN, der.sequence(*map(general_name, link.san)), link.san_critical))
    if link.ski:
        made.append(_extension(SKI, der.tlv(der.OCTETS, _identifier(_key(link))), False))
    if link.aki is not None:
        identifier = _identifier(_key(issuer) if link.aki else key("nobody", "p256"))
        made.append(_extension(AKI, der.sequence(der.implicit(0, identifier)), False))
    if link.permitted or link.excluded:
        trees = [
            der.explicit(number, *(der.sequence(general_name(name)) for name in names))
            for number, names in enumerate((link.permitted, link.excluded))
            if names
        ]
        made.append(_extension(NC, der.sequence(*trees), True))
    made += [_extension(kind, value, critical) for kind, critical, value in link.more]
    return der.explicit(3, der.sequence(*made)) if made else b""


def _subject(link: Link) -> Name:
    return ("O=tests", f"CN={link.label}") if link.subject is None else link.subject


def serial(link: Link) -> int:
    """Its own, else a positive one that is the label's."""
    digest = hashlib.sha256(link.label.encode()).digest()
    return int.from_bytes(digest[:8], "big") if link.serial is None else link.serial


def certificate(link: Link, links: Mapping[str, Link]) -> bytes:
    """The certificate, signed by the one of `links` that signs it."""
    issuer = links[link.by]
    algorithm = _algorithm(_key(issuer), link.digest, link.pss)
    body = der.sequence(
        b"" if link.version == 1 else der.explicit(0, der.integer(link.version - 1)),
        der.integer(serial(link)),
        algorithm,
        _name(_subject(issuer) if link.issuer is None else link.issuer),
        der.sequence(der.utc_time(NOW + link.since * DAY), der.utc_time(NOW + link.until * DAY)),
        _name(_subject(link)),
        _public(_key(link)),
        # There are none in version 1.
        b"" if link.version == 1 else _extensions(link, issuer),
    )
    return _signed(_key(issuer), body, algorithm, link.digest, pss=link.pss, is_damaged=link.is_damaged)


def signed_by(issuer: Link, body: bytes) -> bytes:
    """Whatever the body is, with the issuer's signature under it."""
    algorithm = _algorithm(_key(issuer), issuer.digest, False)
    return _signed(_key(issuer), body, algorithm, issuer.digest, pss=False, is_damaged=False)


def revocations(issuer: Link, revoked: tuple[Link, ...], *, is_expired: bool = False) -> bytes:
    """The issuer's list of revoked certificates."""
    algorithm = _algorithm(_key(issuer), "sha256", False)
    entries = [der.sequence(der.integer(serial(link)), der.utc_time(NOW - 2 * DAY)) for link in revoked]
    extensions = der.sequence(
        _extension(AKI, der.sequence(der.implicit(0, _identifier(_key(issuer)))), False),
        _extension(CRL_NUMBER, der.integer(1), False),
    )
    body = der.sequence(
        der.integer(1),
        algorithm,
        _name(_subject(issuer)),
        der.utc_time(NOW - 2 * DAY),
        der.utc_time(NOW - DAY if is_expired else NOW + DAY),
        der.sequence(*entries) if entries else b"",
        der.explicit(0, extensions),
    )
    return _signed(_key(issuer), body, algorithm, "sha256", pss=False, is_damaged=False)
