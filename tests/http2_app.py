"""What hypercorn serves to the tests: `/bytes/N` gives so many, `/length` says how many came."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

# A piece of a body, as frameworks send them.
PIECE = 65536


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    length, more = 0, True
    while more:
        event = await receive()
        length += len(event.get("body", b""))
        more = event.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/length":
        await send({"type": "http.response.body", "body": str(length).encode()})
        return
    rest = int(scope["path"].rpartition("/")[2])
    while rest > 0:
        await send({"type": "http.response.body", "body": bytes(min(rest, PIECE)), "more_body": True})
        rest -= PIECE
    await send({"type": "http.response.body", "body": b""})
