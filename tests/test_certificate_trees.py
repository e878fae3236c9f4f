"""Certificates that are none: trees of DER by chance, and good certificates with one branch changed.

Servers written out by hand show them, since no library's would. Ours says of them what httpcore says, and
accepts none that it does not; nothing of ours panics, which would be a `RuntimeError`.
"""

from __future__ import annotations

import os
import random
import ssl
from pathlib import Path

import der
import pytest
from certificate_cases import Case
from certificates_made import signed_by
from cryptography.hazmat.primitives import serialization
from servers import RAW, STALL, Server
from test_certificate_cases import ACCEPTED, by_name, verdicts
from tls_by_hand import Server13, play

# The same ones each time.
SEED = 5
TREES = 1000 if os.environ.get("HTTPCORE_HYPER_TESTS") == "full" else 40
# An engine's own connections: the second is for what rustls leaves to the context.
CONNECTIONS = 4
TAGS = (der.SEQUENCE, der.SET, 0xA0, 0xA3, 0x80, 0x86, *range(0x01, 0x0D), 0x13, 0x16, 0x17, 0x18, 0x1F, 0xFF)
MOST_CHILDREN, MOST_BYTES, DEEPEST = 6, 40, 6

# A tag, and what is in it: more of them, or bytes.
Node = tuple[int, "list[Node] | bytes"]


def tree(chance: random.Random, depth: int = 0) -> Node:
    tag = chance.choice(TAGS)
    if tag & der.CONSTRUCTED and depth < DEEPEST:
        return tag, [tree(chance, depth + 1) for _ in range(chance.randrange(MOST_CHILDREN))]
    return tag, chance.randbytes(chance.randrange(MOST_BYTES))


def written(node: Node) -> bytes:
    tag, inside = node
    return der.tlv(tag, inside if isinstance(inside, bytes) else b"".join(map(written, inside)))


def read(data: bytes) -> Node:
    """Of good DER alone."""
    nodes = _read_all(data)
    assert len(nodes) == 1
    return nodes[0]


def _read_all(data: bytes) -> list[Node]:
    nodes: list[Node] = []
    while data:
        size, start = data[1], 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(data[2:start], "big")
        inside = data[start : start + size]
        nodes.append((data[0], _read_all(inside) if data[0] & der.CONSTRUCTED else inside))
        data = data[start + size :]
    return nodes


def changed(node: Node, chance: random.Random) -> Node:
    """One branch of it is another, missing, doubled, or in another place."""
    tag, inside = node
    if isinstance(inside, bytes) or not inside:
        return tree(chance)
    at = chance.randrange(len(inside))
    branches = list(inside)
    match chance.randrange(8):
        case 0:
            del branches[at]
        case 1:
            branches.insert(at, branches[at])
        case 2:
            branches[at] = tree(chance)
        case 3:
            chance.shuffle(branches)
        case _:
            branches[at] = changed(branches[at], chance)
    return tag, branches


def judged(case: Case, leaf: bytes, folder: Path) -> str:
    """What httpcore makes of it, once ours has made the same."""
    key = serialization.load_pem_private_key(case.key, None)
    server = Server13(chain=(leaf, *case.chain[1:]), key=key)  # type: ignore[arg-type]
    script = [RAW, play(server), STALL]
    with Server([script] * CONNECTIONS, tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) as listening:
        found = verdicts(case, ssl.VERIFY_DEFAULT, listening, folder)
    said = {name: words for name, (words, _) in found.items()}
    assert said["python"] == said["httpcore"], leaf.hex()
    assert said["auto"] == said["httpcore"], leaf.hex()
    assert said["httpcore"] == ACCEPTED or said["httpcore"].startswith("ConnectError: "), said
    return said["httpcore"]


@pytest.mark.timeout(600)  # of the full size
def test_trees_by_chance(tmp_path: Path) -> None:
    case, chance = by_name("ok-root-leaf"), random.Random(SEED)
    for _ in range(TREES):
        assert judged(case, written(tree(chance)), tmp_path) != ACCEPTED


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["ok-root-leaf", "leaf-key-ed"])
def test_certificates_with_a_branch_changed(name: str, tmp_path: Path) -> None:
    """Signed by their authority all the same, so that it is their form that is judged."""
    case, chance = by_name(name), random.Random(SEED)
    body, _algorithm, _signature = read(case.chain[0])[1]
    issuer = case.links[case.links["leaf"].by]
    accepted = 0
    for _ in range(TREES):
        leaf = signed_by(issuer, written(changed(body, chance)))
        accepted += judged(case, leaf, tmp_path) == ACCEPTED
    # Most of a certificate matters, and not all of it.
    assert accepted < TREES / 2
    # Unchanged it is a good one.
    assert judged(case, signed_by(issuer, written(body)), tmp_path) == ACCEPTED
