"""The border: everything that Python sees of the native half, on one page.

The classes of the two doors come in pairs with equal methods. `AsyncPool` and `AsyncExchange` return
something to await; `Pool` and `Exchange` return the value itself, waiting with the GIL released.
All exceptions are classes of the flavour that the pool was made for.
"""

from collections.abc import Awaitable, Generator, Iterable, Mapping
from os import PathLike
from types import ModuleType
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, final

from typing_extensions import Buffer

_T = TypeVar("_T")

__all__ = [
    "AsyncExchange",
    "AsyncNetworkStream",
    "AsyncOperation",
    "AsyncPool",
    "Exchange",
    "Models",
    "Moved",
    "Near",
    "NetworkStream",
    "Operation",
    "Place",
    "Pool",
    "Port",
    "Ready",
    "Unread",
    "Watch",
    "__version__",
    "after_fork_in_child",
    "after_fork_in_parent",
    "before_fork",
    "ledger",
]

__version__: str

_Head: TypeAlias = tuple[int, list[tuple[bytes, bytes]], dict[str, Any], bytes | None, bool]
"""`(status, headers, extensions, first, ended)`.

`headers` have the case, order and duplicates of the wire (over HTTP/2 equal names stand together). `extensions` has
`http_version` (`bytes`), over HTTP/1.1 `reason_phrase` (`bytes`), over HTTP/2 `stream_id` (`int`). `first` is the part of the body that had arrived with the head, `None` if
there was none; `ended` says that it is all of it.
"""

_Description: TypeAlias = tuple[
    int, str, Literal["HTTP/1.1", "HTTP/2"], Literal["CONNECTING", "ACTIVE", "IDLE"], int, int
]
"""`(id, origin, version, status, request_count, requests)` of a connection. Ids are never used twice in one pool.

`request_count` is of all times, `requests` of now: those that wait for what it becomes among them."""

_SocketOption: TypeAlias = (
    tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
)

class _Session(Protocol):
    """One TLS connection; see `_ssl.Session`."""

    ssl_object: Any

    def turn(
        self, received: bytes, ended: bool, outgoing: bytes
    ) -> tuple[bytes, bytes, int, bool, bool, Exception | None]: ...

class _Sessions(Protocol):
    """Called on threads of the engine's; see `_ssl.Sessions`."""

    policy: Literal["auto", "python", "rustls"]

    def open(self, server_hostname: str | None, protocols: list[str]) -> _Session: ...
    def look(self) -> tuple[str | None, bool, bytes]: ...
    def trusting(self, authority: bytes) -> _Sessions: ...
    def explain(self, reason: str) -> None: ...

class _Proxy(Protocol):
    """One proxy; see `_proxy.Settings`."""

    @property
    def is_socks(self) -> bool: ...
    @property
    def scheme(self) -> bytes: ...
    @property
    def host(self) -> bytes: ...
    @property
    def port(self) -> int: ...
    @property
    def headers(self) -> list[tuple[bytes, bytes]]: ...
    @property
    def auth(self) -> tuple[bytes, bytes] | None: ...
    @property
    def sessions(self) -> _Sessions: ...

def ledger() -> dict[str, int]:
    """How much the library holds in this process at this moment, over all pools, loops and threads.

    A diagnostic, for those who look for leaks: with every response closed, every pool closed and collected, and
    every loop closed, all of it is zero.

    `exchanges`: requests from their start until nobody has them any more. `queued`: those in a pool's queue.
    `leases`: slots of pools that requests hold. `connections`: open ones, idle ones included. `descriptors`: of
    sockets, and of what wakes event loops. `waiters`: callers that an event loop is to wake. `operations`: reads
    and writes on connections that have left HTTP. `tasks`: on runtimes. `blocking`: name look-ups and turns of TLS
    sessions; one that nobody waits for any more ends by itself. `runtimes`: of sync pools, each with a few
    descriptors of its own. The runtime of the async pools lives as long as the process and is not counted.
    """

def before_fork() -> None:
    """Keeps the engine's own threads out of OpenSSL and the resolver. For `os.register_at_fork`."""

def after_fork_in_parent() -> None:
    """Lets them in again. For `os.register_at_fork`."""

def after_fork_in_child() -> None:
    """Fails what the forking thread's loop waits for. For `os.register_at_fork`."""

class Moved(Exception):
    """The pool no longer serves a request and has sent nothing of it. Never leaves the pool."""

@final
class AsyncPool:
    """The engine of an async pool, on the runtime that all async pools share."""

    def __new__(
        cls,
        flavour: ModuleType,
        *,
        tls: _Sessions,
        max_connections: int,
        max_keepalive_connections: int,
        keepalive_expiry: float | None = None,
        retries: int = 0,
        local_address: str | None = None,
        uds: str | PathLike[str] | None = None,
        socket_options: Iterable[_SocketOption] | None = None,
        http1: bool = True,
        http2: bool = False,
        proxy: _Proxy | None = None,
    ) -> AsyncPool:
        """`flavour` is httpcore, or a module with its exception classes. `keepalive_expiry` is in seconds.

        Raises `ValueError`, `TypeError` or `OverflowError` for a setting that cannot be honoured.
        """
    def exchange(
        self,
        method: bytes,
        scheme: bytes,
        host: bytes,
        port: int | None,
        target: bytes,
        headers: list[tuple[bytes, bytes]],
        body: Buffer | None,
        timeout: Mapping[str, float | None] | None,
        server_name: str | bytes | None = None,
        stepwise: bool = False,
    ) -> AsyncExchange:
        """Queues a request. Nothing is sent before its first part is asked for.

        A stepwise exchange goes no further than to the part that is asked for: `acquire`, `connect`,
        `secure_proxy`, `ask_proxy`, `proxy_answer`, `agree`, `secure`, `send`, `write` and `finish`, `head`, `read`. Its write errors are raised, once, and do not end it.

        `port` is the scheme's own for `None` and 0. `body` is all of it, `None` if it is going to be
        written chunk by chunk. `timeout` is httpcore's extension, in seconds. `server_name` is
        whom the certificate must name in place of `host`.
        A request that the pool's proxy forwards is given the proxy's headers, and the whole URL for a target.

        Raises `LocalProtocolError` for a head that breaks HTTP/1.1 (h11's rules and words).
        """
    def plain_exchange(
        self,
        method: object,
        url: object,
        headers: object,
        content: object,
        timeout: Mapping[str, float | None] | None,
        server_name: str | bytes | None,
    ) -> AsyncExchange | None:
        """As `exchange`, with the arguments of httpcore's `request`. `None` for values that httpcore has to look at.

        Which are: all but `str` in ASCII and `bytes`, dictionaries, lists and tuples of these, and URLs that are
        plain (see `rust/url.rs`).
        """
    def model_exchange(self, models: Models, request: object) -> AsyncExchange | None:
        """As `exchange`, with httpx's own request. `None` for one that httpx has to take apart itself.

        Which are: those of other classes than the ones of `models`, with a body that is not all there, with a `target` or a
        `trace` in their extensions, and of a scheme that is not HTTP's. In the head of its response a header is
        `(name, lower-case name, value)`.
        """
    def close(self) -> None:
        """Closes every connection and fails every request. The pool stays usable."""
    def retire(self) -> None:
        """Closes idle connections and fails queued requests with `Moved`; those in flight finish."""
    def counts(self) -> tuple[int, int, int, int]:
        """Active requests, queued requests, active connections, idle connections."""
    def take_closed(self) -> int:
        """Idle connections that were closed for their age, their server or to make room, since the last call."""
    def connections(self) -> list[_Description]:
        """The connections, in the order they were made."""
    def connection(self, id: int) -> _Description | None:
        """One of them; `None` once it is closed."""
    def network_stream(self, id: int) -> AsyncNetworkStream | None:
        """A look at the socket of one of them; `None` while it is not open."""

@final
class AsyncExchange:
    """A request in flight. Dropping it ends it, like `close`.

    Only one part is awaited at a time. A cancelled caller calls `close`, which never waits.
    """

    def acquire(self) -> Awaitable[bool]:
        """A connection is assigned; true if it has yet to be opened. Of a stepwise exchange only.

        Raises `PoolTimeout`.
        """
    def connect(self) -> Awaitable[None]:
        """There is a socket, to the origin or to the proxy, after one attempt. Of a stepwise exchange only, as the
        legs that follow. Each that the way does not have is over at once.

        Raises `ConnectTimeout` and `ConnectError`; after an error of a leg `connect` can be called again.
        """
    def secure_proxy(self) -> Awaitable[None]:
        """TLS with the proxy. Raises `ConnectTimeout` and `ConnectError`."""
    def ask_proxy(self) -> Awaitable[None]:
        """A tunnel has been asked for. Raises `WriteTimeout`, and `LocalProtocolError` for the proxy's headers."""
    def proxy_answer(self) -> Awaitable[tuple[bytes, int, bytes, list[tuple[bytes, bytes]]] | None]:
        """An HTTP proxy's answer, whatever it says: `(http_version, status, reason_phrase, headers)`.

        Raises `ReadTimeout`, `ReadError` and `RemoteProtocolError`.
        """
    def agree(self) -> Awaitable[None]:
        """The proxy has agreed to the tunnel; the whole conversation in SOCKS5.

        Raises `ProxyError`, `ConnectTimeout`, and the errors of reading and writing.
        """
    def secure(self) -> Awaitable[None]:
        """TLS with the origin, if its scheme asks for it. Raises `ConnectTimeout` and `ConnectError`."""
    def send(self) -> Awaitable[bool]:
        """The head has been sent: a connection was acquired, and opened if need be. The value is `write`'s.

        Raises `PoolTimeout`, `ConnectTimeout`, `ConnectError`, `WriteTimeout`.
        """
    def write(self, chunk: Buffer) -> Awaitable[bool]:
        """One chunk of the body has been sent. False if the server takes no more of it: `head` is next.

        Raises `WriteTimeout`, and `LocalProtocolError` when the body outgrows its Content-Length. A
        broken socket raises nothing here: the response may still tell why.
        """
    def finish(self) -> Awaitable[bool]:
        """The body has been sent to its end.

        Raises `WriteTimeout`, and `LocalProtocolError` when it is shorter than its Content-Length.
        """
    def head(self) -> Awaitable[_Head]:
        """The response head. With a whole body this is the first and only step before `read`.

        Raises what `send` raises, `ReadTimeout`, `ReadError` and `RemoteProtocolError`.
        """
    def read(self) -> Awaitable[bytes | None]:
        """The next bytes of the response body, never empty; `None` at its end.

        Raises `ReadTimeout`, `ReadError` and `RemoteProtocolError`.
        """
    def network_stream(self) -> AsyncNetworkStream:
        """The stream under the exchange, once the connection is open."""
    def stream_id(self) -> int | None:
        """The id of its HTTP/2 stream, or the one that it is going to have; `None` over HTTP/1.1 and before it connects."""
    def trailers(self) -> list[tuple[bytes, bytes]]:
        """What came behind the body over HTTP/2, once `read` has returned `None`; given once."""
    def close(self) -> None:
        """Ends the exchange. Its slot is free, its socket idle or closed, when this returns."""

@final
class Models:
    """The classes of one httpx: `Request`, `URL`, `Headers` and `ByteStream`. Objects of subclasses are not read.

    Values are read from where these classes keep them; whether that is where `read` looks is for `_models.py` to find out.
    """

    def __new__(cls, request: type, url: type, headers: type, stream: type) -> Models: ...
    def read(
        self, request: object
    ) -> tuple[bytes, bytes, bytes, int | None, bytes, list[tuple[bytes, bytes]], bytes] | None:
        """What `model_exchange` would send: `(method, scheme, host, port, target, headers, body)`."""

@final
class Unread:
    """The classes that a response of one httpx consists of at one door: `Response`, `Headers`, `BoundSyncStream` or
    `BoundAsyncStream`, and our body.

    `foreign` are the names that a response has in its own dictionary only if somebody wants to be asked; `watch` is over the functions of httpx's that read a body.
    """

    def __new__(
        cls, response: type, headers: type, bound: type, body: type, foreign: list[str], watch: Watch
    ) -> Unread: ...
    @staticmethod
    def is_content(lines: list[tuple[bytes, bytes, bytes]]) -> bool:
        """Whether a body with these headers is the content as it is: there is no Content-Encoding."""
    def body(self, response: object) -> Any:
        """Our body, if all of it is here and httpx would only decode it: for an open response of these very classes, whose
        `iter_raw` nobody has called. Else `None`.
        """

@final
class AsyncNetworkStream:
    """The socket under a response. It is read and written only if the response made it another protocol's.

    The socket's own errors are `OSError`; once the connection is closed that is `EBADF`.
    """

    def read(self, max_bytes: int, timeout: float | None = None) -> AsyncOperation:
        """Reads up to `max_bytes`; the outcome is `None` at the end of the stream."""
    def write(self, buffer: Buffer, timeout: float | None = None) -> AsyncOperation:
        """Writes all of `buffer`; `timeout` bounds each wait for the peer."""
    def start_tls(
        self, sessions: _Sessions, server_name: str | bytes | None, timeout: float | None = None
    ) -> AsyncOperation:
        """Puts TLS over the stream, in place; `timeout` bounds the handshake."""
    def ssl_object(self) -> Any:
        """What the TLS session tells about itself; `None` without one."""
    def tls_backend(self) -> Literal["rustls", "python"] | None:
        """Who does its cryptography; `None` without TLS."""
    def client_addr(self) -> Any:
        """As `socket.getsockname()`."""
    def server_addr(self) -> Any:
        """As `socket.getpeername()`."""
    def is_readable(self) -> bool: ...
    def duplicate(self) -> int:
        """A file descriptor of the caller's own. The connection still ends when its pool ends it."""
    def close(self) -> None:
        """Ends the connection."""

@final
class AsyncOperation:
    """A read or write on a network stream. A cancelled caller calls `close`; what was read is not lost."""

    def outcome(self) -> Awaitable[bytes | None]:
        """Begins it. Raises `ReadTimeout`, `ReadError`, `WriteTimeout` or `WriteError`."""
    def close(self) -> None: ...

@final
class Pool:
    """The engine of a sync pool, with a runtime of its own that its callers run."""

    def __new__(
        cls,
        flavour: ModuleType,
        *,
        tls: _Sessions,
        max_connections: int,
        max_keepalive_connections: int,
        keepalive_expiry: float | None = None,
        retries: int = 0,
        local_address: str | None = None,
        uds: str | PathLike[str] | None = None,
        socket_options: Iterable[_SocketOption] | None = None,
        http1: bool = True,
        http2: bool = False,
        proxy: _Proxy | None = None,
    ) -> Pool:
        """See `AsyncPool`."""
    def exchange(
        self,
        method: bytes,
        scheme: bytes,
        host: bytes,
        port: int | None,
        target: bytes,
        headers: list[tuple[bytes, bytes]],
        body: Buffer | None,
        timeout: Mapping[str, float | None] | None,
        server_name: str | bytes | None = None,
        stepwise: bool = False,
    ) -> Exchange:
        """See `AsyncPool.exchange`."""
    def plain_exchange(
        self,
        method: object,
        url: object,
        headers: object,
        content: object,
        timeout: Mapping[str, float | None] | None,
        server_name: str | bytes | None,
    ) -> Exchange | None:
        """As `exchange`, with the arguments of httpcore's `request`. `None` for values that httpcore has to look at.

        Which are: all but `str` in ASCII and `bytes`, dictionaries, lists and tuples of these, and URLs that are
        plain (see `rust/url.rs`).
        """
    def model_exchange(self, models: Models, request: object) -> Exchange | None:
        """See `AsyncPool.model_exchange`."""
    def close(self) -> None:
        """See `AsyncPool.close`. The runtime goes with the last request."""
    def retire(self) -> None:
        """See `AsyncPool.retire`."""
    def counts(self) -> tuple[int, int, int, int]:
        """See `AsyncPool.counts`."""
    def take_closed(self) -> int:
        """See `AsyncPool.take_closed`."""
    def connections(self) -> list[_Description]:
        """See `AsyncPool.connections`."""
    def connection(self, id: int) -> _Description | None:
        """See `AsyncPool.connection`."""
    def network_stream(self, id: int) -> NetworkStream | None:
        """See `AsyncPool.network_stream`."""

@final
class Exchange:
    """A request in flight, run by the thread that waits for it. See `AsyncExchange`.

    Each wait releases the GIL; on the main thread it lets signal handlers run, and raises what they
    raise, within 100 ms.
    """

    def acquire(self) -> bool: ...
    def connect(self) -> None: ...
    def secure_proxy(self) -> None: ...
    def ask_proxy(self) -> None: ...
    def proxy_answer(self) -> tuple[bytes, int, bytes, list[tuple[bytes, bytes]]] | None: ...
    def agree(self) -> None: ...
    def secure(self) -> None: ...
    def send(self) -> bool: ...
    def write(self, chunk: Buffer) -> bool: ...
    def finish(self) -> bool: ...
    def head(self) -> _Head: ...
    def read(self) -> bytes | None: ...
    def network_stream(self) -> NetworkStream: ...
    def stream_id(self) -> int | None: ...
    def trailers(self) -> list[tuple[bytes, bytes]]: ...
    def close(self) -> None: ...

@final
class NetworkStream:
    """See `AsyncNetworkStream`. Reads and writes in several threads do not wait for each other."""

    def read(self, max_bytes: int, timeout: float | None = None) -> Operation: ...
    def write(self, buffer: Buffer, timeout: float | None = None) -> Operation: ...
    def start_tls(
        self, sessions: _Sessions, server_name: str | bytes | None, timeout: float | None = None
    ) -> Operation: ...
    def ssl_object(self) -> Any: ...
    def tls_backend(self) -> Literal["rustls", "python"] | None: ...
    def client_addr(self) -> Any: ...
    def server_addr(self) -> Any: ...
    def is_readable(self) -> bool: ...
    def duplicate(self) -> int: ...
    def close(self) -> None: ...

@final
class Operation:
    """See `AsyncOperation`; run by the thread that waits for the outcome."""

    def outcome(self) -> bytes | None: ...
    def close(self) -> None: ...

@final
class Port:
    """What an event loop watches: `fileno()` turns readable when parts are ready, `drain` resolves them."""

    def fileno(self) -> int: ...
    def drain(self) -> None: ...
    def close(self) -> None:
        """Nobody watches any more: later parts are discarded."""

@final
class Place:
    """A trio task's place at a port."""

    def leave(self) -> None:
        """The task was cancelled while it waited, and must not be rescheduled."""

@final
class Near(Awaitable[_T]):
    """A part that may be about to come. Awaiting it looks for the part, for some 60 us at most, and waits for it if it is not
    there then.
    """

    def __await__(self) -> Generator[Any, None, _T]: ...

@final
class Ready(Awaitable[_T]):
    """A part that is here: awaiting it waits for nothing."""

    def __await__(self) -> Generator[None, None, _T]: ...
    def __iter__(self) -> Generator[None, None, _T]: ...
    def __next__(self) -> None: ...

@final
class Watch:
    """Attributes, each as the owner's `__dict__` and a name, as they are now.

    With an owner, also its class, the attributes with the names in `own` of its own dictionary, and those with the
    names in `inherited` of its class. It is not kept, so that it may keep the watch, and is brought along for each look.
    """

    def __new__(
        cls,
        attributes: list[tuple[Mapping[Any, Any], Any]],
        owner: object = None,
        own: list[str] = ...,
        inherited: list[str] = ...,
    ) -> Watch: ...
    def first_changed(self) -> int | None:
        """The place in the list of the first attribute that is another object by now."""
    def is_unchanged(self, owner: object) -> bool:
        """Whether all attributes are the objects that they were, the owner's among them."""
