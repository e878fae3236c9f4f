"""The SDKs of openai and anthropic, on httpx2: plain answers and streams of events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from routes import response
from servers import RECEIVE, STALL, Server, send

JSON = ((b"Content-Type", b"application/json"),)
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def answer(value: dict[str, Any]) -> list[Any]:
    return [RECEIVE, send(response(json.dumps(value).encode(), headers=JSON)), STALL]


def events(*values: Any, named: bool = False) -> list[Any]:
    """Each event in a chunk of its own."""
    steps = [RECEIVE, send(SSE)]
    for value in values:
        data = value if isinstance(value, str) else json.dumps(value)
        name = f"event: {value['type']}\n" if named else ""
        event = f"{name}data: {data}\n\n".encode()
        steps.append(send(b"%X\r\n%s\r\n" % (len(event), event)))
    return [*steps, send(b"0\r\n\r\n"), STALL]


COMPLETION = {"id": "1", "created": 1, "model": "m"}
CHAT = answer(
    {
        **COMPLETION,
        "object": "chat.completion",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}
        ],
    }
)
CHAT_STREAM = events(
    *(
        {
            **COMPLETION,
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": {"content": part}}],
        }
        for part in ("hel", "lo")
    ),
    "[DONE]",
)
QUESTION: Any = {"model": "m", "messages": [{"role": "user", "content": "?"}]}


def test_openai(need: Callable[[str], Any], installed: None, served: list[str]) -> None:
    openai = need("openai")
    with Server([CHAT, CHAT_STREAM]) as server:
        with openai.OpenAI(api_key="key", base_url=server.url("/v1"), max_retries=0) as client:
            assert client.chat.completions.create(**QUESTION).choices[0].message.content == "hello"
            # Another connection: the first one's script has ended.
        with openai.OpenAI(api_key="key", base_url=server.url("/v1"), max_retries=0) as client:
            stream = client.chat.completions.create(**QUESTION, stream=True)
            assert "".join(chunk.choices[0].delta.content for chunk in stream) == "hello"
        assert json.loads(server.requests[0].body)["model"] == "m"
    assert served == ["ConnectionPool"] * 2


def test_openai_async(need: Callable[[str], Any], installed: None, served: list[str]) -> None:
    openai = need("openai")

    async def ask(server: Server) -> None:
        async with openai.AsyncOpenAI(api_key="key", base_url=server.url("/v1"), max_retries=0) as client:
            reply = await client.chat.completions.create(**QUESTION)
            assert reply.choices[0].message.content == "hello"
        async with openai.AsyncOpenAI(api_key="key", base_url=server.url("/v1"), max_retries=0) as client:
            stream = await client.chat.completions.create(**QUESTION, stream=True)
            assert "".join([chunk.choices[0].delta.content async for chunk in stream]) == "hello"

    with Server([CHAT, CHAT_STREAM]) as server:
        asyncio.run(ask(server))
    assert served == ["AsyncConnectionPool"] * 2


MESSAGE = {
    **{"id": "1", "type": "message", "role": "assistant", "model": "m", "content": []},
    **{"stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}},
}
WHOLE = answer({**MESSAGE, "content": [{"type": "text", "text": "hello"}], "stop_reason": "end_turn"})
MESSAGE_STREAM = events(
    {"type": "message_start", "message": MESSAGE},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hel"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 2},
    },
    {"type": "message_stop"},
    named=True,
)
PROMPT: Any = {**QUESTION, "max_tokens": 10}


def test_anthropic(need: Callable[[str], Any], installed: None, served: list[str]) -> None:
    anthropic = need("anthropic")
    with Server([WHOLE, MESSAGE_STREAM]) as server:
        with anthropic.Anthropic(api_key="key", base_url=server.url(""), max_retries=0) as client:
            assert client.messages.create(**PROMPT).content[0].text == "hello"
        with (
            anthropic.Anthropic(api_key="key", base_url=server.url(""), max_retries=0) as client,
            client.messages.stream(**PROMPT) as stream,
        ):
            assert "".join(stream.text_stream) == "hello"
    assert served == ["ConnectionPool"] * 2


def test_anthropic_async(need: Callable[[str], Any], installed: None, served: list[str]) -> None:
    anthropic = need("anthropic")

    async def ask(server: Server) -> None:
        async with anthropic.AsyncAnthropic(api_key="key", base_url=server.url(""), max_retries=0) as client:
            assert (await client.messages.create(**PROMPT)).content[0].text == "hello"
        async with (
            anthropic.AsyncAnthropic(api_key="key", base_url=server.url(""), max_retries=0) as client,
            client.messages.stream(**PROMPT) as stream,
        ):
            assert "".join([text async for text in stream.text_stream]) == "hello"

    with Server([WHOLE, MESSAGE_STREAM]) as server:
        asyncio.run(ask(server))
    assert served == ["AsyncConnectionPool"] * 2


pytestmark = pytest.mark.filterwarnings("default")  # the libraries' own warnings are their own
