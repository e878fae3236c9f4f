"""Chapter L: a process whose threads are gevent's greenlets."""

from __future__ import annotations

import subprocess
import sys

# A server and its clients in one thread: it answers only if those who wait let it. Each answer waits for two
# requests to be there, and one of the clients is httpx's.
PROGRAM = """if True:
    from gevent import monkey
    monkey.patch_all()
    import gevent
    from gevent.event import Event
    from gevent.server import StreamServer
    import httpx
    import httpcore_hyper

    here, both = [], Event()

    def serve(sock, address):
        while b"\\r\\n\\r\\n" in sock.recv(65536):
            here.append(address)
            if len(here) == 2:
                both.set()
            both.wait()
            sock.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")

    server = StreamServer(("127.0.0.1", 0), serve)
    server.start()
    url = f"http://127.0.0.1:{server.server_port}/"
    pool = httpcore_hyper.ConnectionPool()
    client = httpx.Client(transport=httpcore_hyper.HTTPTransport())
    timeout = {"connect": 20.0, "read": 20.0}
    one = gevent.spawn(pool.request, "GET", url, extensions={"timeout": timeout})
    other = gevent.spawn(client.get, url, timeout=20.0)
    gevent.joinall([one, other], raise_error=True)
    assert one.value.content == other.value.content == b"ok"
    assert pool.delegated == "socket.socket has been patched", pool.delegated
    client.close()
    pool.close()
    server.stop()
"""


def test_greenlets_take_turns() -> None:
    """L-30: httpcore's own engine serves, which waits as gevent wants it."""
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=False, capture_output=True, text=True, timeout=60
    )
    assert (process.returncode, process.stderr) == (0, ""), process.stderr
