"""Chains of certificates, each with one thing that is out of the ordinary: rows, as data. Nothing runs here.

What is right is not told here either: it is whatever httpcore makes of them.
"""

from __future__ import annotations

import dataclasses
import functools
import ssl
from collections.abc import Iterator
from typing import Any, TypeAlias

import certificates_made as made
import der
from certificates_made import (
    ANY_PURPOSE,
    CLIENT,
    CODE,
    CRL_SIGN,
    DIGITAL_SIGNATURE,
    HOST,
    KEY_CERT_SIGN,
    KEY_ENCIPHERMENT,
    NETSCAPE_SGC,
    ROLES,
    SERVER,
    Link,
)

# What a link has in the place of its role's defaults; `role` itself is told by the label, if by nothing else.
Change: TypeAlias = dict[str, Any]

NONE, REQUIRED, OPTIONAL = ssl.CERT_NONE, ssl.CERT_REQUIRED, ssl.CERT_OPTIONAL
LEAF_CRL, CHAIN_CRLS = ssl.VERIFY_CRL_CHECK_LEAF, ssl.VERIFY_CRL_CHECK_CHAIN
NO_FLAG = ssl.VERIFY_DEFAULT


@dataclasses.dataclass(frozen=True)
class Revocations:
    """A list that the client has: whose it is, and whom it names."""

    by: str
    revoked: tuple[str, ...] = ()
    is_expired: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """What a server shows, and what the client's context knows and asks for."""

    name: str
    links: dict[str, Link]
    sent: tuple[str, ...]
    anchors: tuple[str, ...]
    host: str = HOST
    verify_mode: ssl.VerifyMode = REQUIRED
    check_hostname: bool = True
    flags: ssl.VerifyFlags = NO_FLAG
    lists: tuple[Revocations, ...] = ()
    # No server of OpenSSL's can be brought to show it.
    by_hand: bool = False

    @functools.cached_property
    def certificates(self) -> dict[str, bytes]:
        """Those that anybody gets to see, by their labels."""
        seen = dict.fromkeys((*self.sent, *self.anchors))
        return {label: made.certificate(self.links[label], self.links) for label in seen}

    @property
    def chain(self) -> list[bytes]:
        """What the server sends, in DER, its own certificate first."""
        return [self.certificates[label] for label in self.sent]

    @property
    def key(self) -> bytes:
        """The server's key, in PEM."""
        return made.key_pem(self.links[self.sent[0]])

    @property
    def trusted(self) -> list[bytes]:
        """What the client trusts, in DER."""
        return [self.certificates[label] for label in self.anchors]

    @property
    def revoked(self) -> list[bytes]:
        """The client's lists of revoked certificates, in DER."""
        return [
            made.revocations(
                self.links[known.by],
                tuple(self.links[label] for label in known.revoked),
                is_expired=known.is_expired,
            )
            for known in self.lists
        ]


def link(label: str, change: Change) -> Link:
    """A root signs itself, the root signs an intermediate, and that one the leaf; if nothing else is said."""
    role = next(role for role in ROLES if label.startswith(role)) if "role" not in change else change["role"]
    signer = {"root": label, "inter": "root", "leaf": "inter"}[role]
    described = {"by": signer, **ROLES[role], **change}
    described.pop("role", None)
    return Link(label, **described)


# What a row says about the case as a whole; every other word is a link's label.
WORDS = {field.name for field in dataclasses.fields(Case)} - {"name", "links", "sent", "anchors"}


def case(name: str, *, sent: str = "leaf inter", anchors: str = "root", **more: Any) -> Case:
    """A good chain, root, inter and leaf, but for what is said of its links."""
    words = {word: more.pop(word) for word in WORDS & set(more)}
    changes: dict[str, Change] = {"root": {}, "inter": {}, "leaf": {}, **more}
    links = {label: link(label, change) for label, change in changes.items()}
    return Case(name, links, tuple(sent.split()), tuple(anchors.split()), **words)


# A certificate that signs itself.
ALONE: Change = {"by": "leaf", "aki": None}


def paths() -> Iterator[Case]:
    """Which certificates are sent, and which are trusted."""
    yield case("ok-root-leaf", sent="leaf", leaf={"by": "root"})
    yield case("ok-root-inter-leaf")
    yield case("missing-inter", sent="leaf")
    yield case("untrusted-root", anchors="root2", root2={})
    yield case("empty-store", anchors="")
    deep = {"inter2": {"by": "inter"}, "inter3": {"by": "inter2"}, "leaf": {"by": "inter3"}}
    yield case("shuffled", sent="leaf inter inter3 inter2", **deep)
    yield case("unrelated-extra", sent="leaf leaf2 inter2 inter", root2={}, inter2={"by": "root2"}, leaf2={})
    yield case("root-sent", sent="leaf inter root")
    yield case("bad-sig-leaf", leaf={"is_damaged": True})
    yield case("bad-sig-inter", inter={"is_damaged": True})
    for suffix, change in {
        "ca-false": {"ku": None},
        "no-bc": {"ku": None, "ca": None},
        "ca-true": {"ku": (DIGITAL_SIGNATURE, KEY_CERT_SIGN), "ca": True},
    }.items():
        known, unable = {**ALONE, **change}, {**ALONE, **change, "ku": (DIGITAL_SIGNATURE,)}
        yield case(f"selfsigned-anchor-{suffix}", sent="leaf", anchors="leaf", leaf=known)
        yield case(f"selfsigned-anchor-nokeycertsign-{suffix}", sent="leaf", anchors="leaf", leaf=unable)
        yield case(f"selfsigned-untrusted-{suffix}", sent="leaf", leaf=known)
    own: Change = {"sent": "leaf", "anchors": "leaf"}
    request = {**ALONE, "ca": True, "ku": None, "eku": None, "aki": True}
    yield case("selfsigned-anchor-opensslreq", **own, leaf=request)
    yield case("selfsigned-anchor-v1-cnonly", **own, leaf={**ALONE, "version": 1, "subject": (f"CN={HOST}",)})
    yield case("selfsigned-anchor-expired", **own, leaf={**ALONE, "until": -1})
    yield case("anchor-inter-only", anchors="inter")
    yield case("anchor-inter-only-notsent", anchors="inter", sent="leaf")
    yield case("anchor-leaf-only", anchors="leaf2", leaf2={})
    yield case("anchor-same-leaf-only", anchors="leaf", sent="leaf")
    yield case("anchor-same-leaf-plus-inter-sent", anchors="leaf")
    yield case("anchor-root-and-inter", anchors="root inter")
    for depth in (3, 6, 7, 8, 20):
        inters = {f"inter{n}": {"by": f"inter{n - 1}" if n > 1 else "root"} for n in range(1, depth + 1)}
        sent = " ".join(["leaf", *reversed(inters)])
        yield case(f"depth-{depth}", sent=sent, **inters, leaf={"by": f"inter{depth}"})
    twins = {f"inter{n}": {"subject": ("CN=inter",)} for n in range(1, 9)}
    yield case("many-same-subject", sent=f"leaf {' '.join(twins)}", **twins, leaf={"by": "inter8"})
    twins = {f"root{n}": {"subject": ("CN=root",)} for n in range(1, 9)}
    yield case("many-same-subject-anchors", anchors=" ".join(twins), **twins, inter={"by": "root8"})


def times() -> Iterator[Case]:
    """What is valid no more, or not yet, and what is so elsewhere."""
    expired, early = {"until": -1}, {"since": 1}
    yield case("expired-root", root=expired)
    yield case("notyet-root", root=early)
    yield case("expired-inter", inter=expired)
    yield case("expired-leaf", leaf=expired)
    yield case("notyet-leaf", leaf=early)
    again = {"key_of": "root", "subject": ("O=tests", "CN=root"), **expired}
    yield case("expired-and-valid-root-same-key", anchors="root2 root", root2=again)
    # `cross` is the new root's key, signed by the old one.
    cross = {"role": "inter", "by": "rootold", "key_of": "root", "subject": ("O=tests", "CN=root")}
    crossed: Change = {"sent": "leaf inter cross", "cross": cross, "rootold": expired}
    yield case("cross-signed-old-expired", anchors="rootold root", **crossed)
    yield case("cross-signed-only-new", anchors="root", **crossed)
    yield case("cross-signed-only-old-expired", anchors="rootold", **crossed)


def authorities() -> Iterator[Case]:
    """What makes a certificate an authority's, and what does not."""
    yield case("root-v1", root={"version": 1})
    yield case("root-v3-no-bc", root={"ca": None, "ku": None})
    yield case("root-ca-false", root={"ca": False, "ku": None})
    yield case("root-no-keycertsign", root={"ku": (CRL_SIGN,)})
    yield case("root-no-ski", root={"ski": False})
    yield case("root-bc-noncritical", root={"bc_critical": False})
    yield case("inter-v1", inter={"version": 1})
    yield case("inter-no-bc", inter={"ca": None, "ku": None})
    yield case("inter-ca-false", inter={"ca": False, "ku": None})
    yield case("inter-no-keycertsign", inter={"ku": (CRL_SIGN,)})
    yield case("inter-no-ku-bc-noncrit", inter={"ku": None, "bc_critical": False})
    deep: Change = {"sent": "leaf inter2 inter", "inter2": {"by": "inter"}, "leaf": {"by": "inter2"}}
    yield case("pathlen-violated-inter", **deep, inter={"pathlen": 0})
    yield case("pathlen-violated-root", root={"pathlen": 0})
    yield case("pathlen-ok-root", root={"pathlen": 1})
    yield case("inter-no-aki-ski", inter={"aki": None, "ski": False})
    minimal = {"ca": None, "ku": None, "eku": None, "ski": False, "aki": None}
    yield case("leaf-minimal-san-only", leaf=minimal)
    yield case("aki-mismatch", leaf={"aki": False})
    yield case("leaf-ca-true-issued", leaf={"ca": True, "ku": (DIGITAL_SIGNATURE, KEY_CERT_SIGN)})


def usages() -> Iterator[Case]:
    """What a key may be used for."""
    yield case("leaf-ku-keyenc-only", leaf={"ku": (KEY_ENCIPHERMENT,)})
    yield case("leaf-ku-keyenc-only-rsa", leaf={"ku": (KEY_ENCIPHERMENT,), "key": "rsa2048"})
    yield case("leaf-ku-crlsign-only", leaf={"ku": (CRL_SIGN,)})
    yield case("leaf-ku-keycertsign", leaf={"ku": (DIGITAL_SIGNATURE, KEY_CERT_SIGN)})
    yield case("leaf-ku-none", leaf={"ku": None})
    for suffix, purposes in {
        "client": (CLIENT,),
        "both": (SERVER, CLIENT),
        "any": (ANY_PURPOSE,),
        "sgc": (NETSCAPE_SGC,),
        "none": None,
    }.items():
        yield case(f"leaf-eku-{suffix}", leaf={"eku": purposes})
    yield case("leaf-eku-code-critical", leaf={"eku": (CODE,), "eku_critical": True})
    for suffix, purpose in {"client": CLIENT, "server": SERVER, "any": ANY_PURPOSE, "code": CODE}.items():
        yield case(f"inter-eku-{suffix}", inter={"eku": (purpose,)})
        yield case(f"root-eku-{suffix}", root={"eku": (purpose,)})


def extensions() -> Iterator[Case]:
    """Extensions that are unknown, odd, or critical where they need not be; and odd numbers."""
    nothing = der.tlv(der.NULL)
    unknown, is_critical, is_not = "1.3.6.1.4.1.55555.1", True, False
    for label in ("leaf", "inter", "root"):
        yield case(f"{label}-unknown-critical", **{label: {"more": ((unknown, is_critical, nothing),)}})
    yield case("leaf-unknown-noncrit", leaf={"more": ((unknown, is_not, nothing),)})
    any_policy = der.sequence(der.sequence(der.oid("2.5.29.32.0")))
    yield case("leaf-certpolicies-critical", leaf={"more": (("2.5.29.32", is_critical, any_policy),)})
    no_mapping = der.sequence(der.implicit(1, b"\x00"))
    constraints = ("2.5.29.36", is_critical, no_mapping)
    yield case("inter-policyconstraints-critical", inter={"more": (constraints,)})
    # TLS features (RFC 7633): the one that is called `must staple`.
    feature, staple = "1.3.6.1.5.5.7.1.24", der.sequence(der.integer(5))
    yield case("leaf-tlsfeature-muststaple", leaf={"more": ((feature, is_not, staple),)})
    yield case("leaf-muststaple-critical", leaf={"more": ((feature, is_critical, staple),)})
    # The mark of a certificate that was never issued (RFC 6962 section 3.1).
    yield case("leaf-ct-poison", leaf={"more": (("1.3.6.1.4.1.11129.2.4.3", is_critical, nothing),)})
    again = (made.SAN, is_not, der.sequence(made.general_name("dns:other.test")))
    yield case("leaf-dup-ext", leaf={"more": (again,)}, by_hand=True)
    yield case("leaf-san-critical", leaf={"san_critical": True})
    yield case("leaf-empty-subject-san-noncrit", leaf={"subject": ()})
    yield case("leaf-empty-subject-san-crit", leaf={"subject": (), "san_critical": True})
    for suffix, serial in {"zero": 0, "negative": -5, "21-octets": 1 << 163, "huge": 1 << 800}.items():
        yield case(f"serial-{suffix}", leaf={"serial": serial})


def constraints() -> Iterator[Case]:
    """What names an authority may vouch for."""
    good, ip, address = f"dns:{HOST}", "ip:127.0.0.1", "127.0.0.1"
    yield case("nc-dns-ok", inter={"permitted": ("dns:example.test",)})
    yield case("nc-dns-violate", inter={"permitted": ("dns:other.test",)})
    yield case("nc-dns-excluded", inter={"excluded": ("dns:example.test",)})
    bad = {"san": (good, "dns:srv.bad.test")}
    yield case("nc-dns-excluded-other-san", inter={"excluded": ("dns:bad.test",)}, leaf=bad)
    yield case("nc-dns-leadingdot", inter={"permitted": ("dns:.example.test",)})
    yield case("nc-root-violate", root={"permitted": ("dns:other.test",)})
    yield case("nc-root-ok", root={"permitted": ("dns:example.test",)})
    numbered: Change = {"leaf": {"san": (ip,)}, "host": address}
    yield case("nc-ip-ok", inter={"permitted": ("ip:127.0.0.0/8",)}, **numbered)
    yield case("nc-ip-violate", inter={"permitted": ("ip:10.0.0.0/8",)}, **numbered)
    both = {"san": (good, ip)}
    yield case("nc-dns-permits-but-ip-san", inter={"permitted": ("dns:example.test",)}, leaf=both)
    named = {"subject": ("O=tests", "CN=leaf")}
    yield case("nc-dir-ok", inter={"permitted": ("dir:O=tests",)}, leaf=named)
    yield case("nc-dir-violate", inter={"permitted": ("dir:O=others",)}, leaf=named)
    yield case("nc-dir-excluded", inter={"excluded": ("dir:O=tests",)}, leaf=named)
    mail = {"san": (good, "email:me@example.test")}
    yield case("nc-email-permit", inter={"permitted": ("email:example.test",)}, leaf=mail)
    yield case("nc-email-violate", inter={"permitted": ("email:other.test",)}, leaf=mail)
    page = {"san": (good, "uri:https://srv.example.test/")}
    yield case("nc-uri-permit", inter={"permitted": ("uri:example.test",)}, leaf=page)
    old = {"san": None, "subject": (f"CN={HOST}",)}
    yield case("nc-cn-only-violate", inter={"permitted": ("dns:other.test",)}, leaf=old)
    yield case("nc-cn-only-ok", inter={"permitted": ("dns:example.test",)}, leaf=old)
    elsewhere = {"subject": ("CN=srv.other.test",)}
    yield case("nc-cn-violates-san-ok", inter={"permitted": ("dns:example.test",)}, leaf=elsewhere)
    wild = {"san": ("dns:*.example.test",)}
    yield case("nc-wildcard-san-permit", inter={"permitted": ("dns:example.test",)}, leaf=wild)
    yield case("nc-wildcard-san-exclude-sub", inter={"excluded": ("dns:a.example.test",)}, leaf=wild)
    yield case("nc-wildcard-san-exclude-sub2", inter={"excluded": (good,)}, leaf=wild)


def keys() -> Iterator[Case]:
    """Kinds of keys, and of signatures."""
    rsa = ("rsa1024", "rsa2048", "rsa3072", "rsa4096")
    for kind in (*rsa, "p384", "p521", "k1", "bp", "ed", "ed448", "p224"):
        yield case(f"leaf-key-{kind}", leaf={"key": kind})
    for kind in ("rsa1024", "p521", "k1", "ed", "ed448"):
        for label in ("root", "inter"):
            yield case(f"{label}-key-{kind}", **{label: {"key": kind}})
    chain = {label: {"key": "rsa2048"} for label in ROLES}
    yield case("rsa-chain", **chain)
    # The digest is the signer's choice.
    for name, label, digest in (
        ("sha1-leaf", "leaf", "sha1"),
        ("sha1-inter", "inter", "sha1"),
        ("sha1-root", "root", "sha1"),
        ("md5-root", "root", "md5"),
        ("md5-leaf", "leaf", "md5"),
        ("sha224-leaf", "leaf", "sha224"),
        ("sha512-rsa-leaf", "leaf", "sha512"),
    ):
        yield case(name, **{**chain, label: {"key": "rsa2048", "digest": digest}})
    yield case("pss-sha256-leaf", **{**chain, "leaf": {"key": "rsa2048", "pss": True}})
    yield case("sha1-ecdsa-leaf", leaf={"digest": "sha1"})
    for kind, digest in (("p256", "sha384"), ("p256", "sha512"), ("p384", "sha256"), ("p384", "sha512")):
        yield case(f"ecdsa-{kind}-{digest}", inter={"key": kind}, leaf={"digest": digest})


def names() -> Iterator[Case]:
    """Which names are the host's."""
    for suffix, host, subject, san in (
        ("mismatch", "other.test", None, f"dns:{HOST}"),
        ("cn-only", HOST, f"CN={HOST}", None),
        ("cn-only-nocn", HOST, "O=tests", None),
        ("cn-ignored-when-san", "cn.example.test", "CN=cn.example.test", f"dns:{HOST}"),
        ("cn-with-email-san", HOST, f"CN={HOST}", "email:me@example.test"),
        ("cn-with-ip-san", HOST, f"CN={HOST}", "ip:127.0.0.1"),
        ("cn-with-uri-san", HOST, f"CN={HOST}", f"uri:https://{HOST}/"),
        ("cn-wildcard", HOST, "CN=*.example.test", None),
        ("cn-multi", HOST, f"CN=other.test CN={HOST}", None),
        ("no-names-at-all", HOST, "", None),
        ("wild", HOST, None, "dns:*.example.test"),
        ("wild-two-labels", "a.b.example.test", None, "dns:*.example.test"),
        ("wild-bare", "example.test", None, "dns:*.example.test"),
        ("wild-partial-prefix", "foo.example.test", None, "dns:f*.example.test"),
        ("wild-partial-suffix", "foo.example.test", None, "dns:*o.example.test"),
        ("wild-tld", "foo.test", None, "dns:*.test"),
        ("wild-star-only", "foo", None, "dns:*"),
        ("wild-middle", "a.foo.example.test", None, "dns:a.*.example.test"),
        ("wild-double", "a.b.example.test", None, "dns:*.*.example.test"),
        ("wild-xn-label", "xn--bcher-kva.example.test", None, "dns:*.example.test"),
        ("wild-xn-partial", "xn--bcher-kva.example.test", None, "dns:xn--*.example.test"),
        ("wild-case", HOST, None, "dns:*.EXAMPLE.Test"),
        ("wild-underscore", "foo_bar.example.test", None, "dns:*.example.test"),
        ("wild-ip", "127.0.0.1", None, "dns:*.0.0.1"),
        ("idna-unicode", "b\xfccher.example.test", None, "dns:xn--bcher-kva.example.test"),
        ("underscore", "foo_bar.example.test", None, "dns:foo_bar.example.test"),
        ("trailing-dot-host", f"{HOST}.", None, f"dns:{HOST}"),
        ("trailing-dot-san", HOST, None, f"dns:{HOST}."),
        ("trailing-dot-both", f"{HOST}.", None, f"dns:{HOST}."),
        ("case", "SRV.Example.test", None, "dns:srv.EXAMPLE.test"),
        ("single-label", "srv", None, "dns:srv"),
        ("leading-dot-san", HOST, None, "dns:.example.test"),
        ("leading-hyphen", "-foo.example.test", None, "dns:-foo.example.test"),
        ("trailing-hyphen-label", "foo-.example.test", None, "dns:foo-.example.test"),
        ("numeric-tld", "srv.example.123", None, "dns:srv.example.123"),
        ("all-numeric-label", "123.example.test", None, "dns:123.example.test"),
        ("nul-in-san", HOST, None, f"dns:{HOST}\0.evil.test"),
        ("space-in-san", HOST, None, f"dns:a\tb.example.test dns:{HOST}"),
        ("bad-san-plus-good", HOST, None, f"dns:..example..test dns:{HOST}"),
        ("nul-san-plus-good", HOST, None, f"dns:other.test\0.evil.test dns:{HOST}"),
        ("empty-san-plus-good", HOST, None, f"dns: dns:{HOST}"),
        ("long-label", f"{'a' * 63}.example.test", None, f"dns:{'a' * 63}.example.test"),
        ("long-name", LONG_NAME, None, f"dns:{LONG_NAME}"),
        ("ip4", "127.0.0.1", None, "ip:127.0.0.1"),
        ("ip4-as-dns-san", "127.0.0.1", None, "dns:127.0.0.1"),
        ("ip4-as-cn", "127.0.0.1", "CN=127.0.0.1", None),
        ("ip4-mismatch", "127.0.0.2", None, "ip:127.0.0.1"),
        ("ip6", "::1", None, "ip:::1"),
        ("ip6-long", "0:0:0:0:0:0:0:1", None, "ip:::1"),
        ("ip6-mapped-host", "::ffff:127.0.0.1", None, "ip:127.0.0.1"),
        ("ip6-zone", "fe80::1%lo", None, "ip:fe80::1"),
        ("dns-with-only-ip-san", HOST, None, "ip:127.0.0.1"),
        ("ip4-short", "127.1", None, "ip:127.0.0.1"),
        ("uri-san-only", HOST, None, f"uri:https://{HOST}/"),
    ):
        parts = None if subject is None else tuple(subject.split(" ")) if subject else ()
        general = None if san is None else tuple(part.replace("\t", " ") for part in san.split(" "))
        yield case(f"name-{suffix}", host=host, leaf={"subject": parts, "san": general})


# As long as a name may be (RFC 1035 section 2.3.4).
LONG_NAME = ".".join(["a" * 63] * 3 + ["b" * 61])


def modes() -> Iterator[Case]:
    """Contexts that look at less."""
    careless: Change = {"verify_mode": NONE, "check_hostname": False, "anchors": ""}
    yield case("mode-none-selfsigned", **careless, sent="leaf", leaf=ALONE)
    yield case("mode-none-expired", **careless, leaf={"until": -1})
    yield case("mode-none-rsa1024", **careless, leaf={"key": "rsa1024"})
    yield case("mode-none-sha1", **careless, leaf={"digest": "sha1"})
    yield case("mode-none-v1", **careless, sent="leaf", leaf={**ALONE, "version": 1})
    yield case("mode-nohost-mismatch", check_hostname=False, host="other.test")
    yield case("mode-nohost-untrusted", check_hostname=False, anchors="")
    yield case("mode-nohost-no-san", check_hostname=False, leaf={"san": None})
    yield case("mode-optional-ok", verify_mode=OPTIONAL)
    yield case("mode-optional-untrusted", verify_mode=OPTIONAL, anchors="")
    yield case("mode-nohost-underscore-host", check_hostname=False, host="foo_bar.example.test")


def lists() -> Iterator[Case]:
    """Lists of revoked certificates."""
    good, root = Revocations("inter"), Revocations("root")
    revoked = Revocations("inter", ("leaf",))
    yield case("crl-none-loaded", flags=LEAF_CRL)
    yield case("crl-good", flags=LEAF_CRL, lists=(good,))
    yield case("crl-revoked", flags=LEAF_CRL, lists=(revoked,))
    yield case("crl-expired", flags=LEAF_CRL, lists=(Revocations("inter", is_expired=True),))
    yield case("crl-chain-missing-root-crl", flags=CHAIN_CRLS, lists=(good,))
    yield case("crl-chain-good", flags=CHAIN_CRLS, lists=(good, root))
    yield case("crl-loaded-flag-off-revoked", lists=(revoked,))


FAMILIES = (paths, times, authorities, usages, extensions, constraints, keys, names, modes, lists)
CASES = [each for family in FAMILIES for each in family()]
