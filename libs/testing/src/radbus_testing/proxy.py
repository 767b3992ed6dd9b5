"""A TCP proxy on loopback whose connections can be cut, frozen, slowed and half-closed, by tests of either kind."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from radbus_testing.link import Link
from radbus_testing.tripwire import Passing, Tripwire, Way

T = TypeVar("T")
_HOST = "127.0.0.1"
_CHUNK_BYTES = 65_536
_CHUNKS_UNDER_WAY = 64
_CALL_TIMEOUT_S = 10.0
_PIECES_A_SECOND = 20


class Proxy:
    """Passes bytes between clients and one server; lives in a thread of its own, so any test may steer it.

    Every method returns once the fault is in force. Faults hold for the connections there are and those to come.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        # Never listened on: it keeps the port while connections to it are refused.
        self._place = _bound(0)
        self.port: int = self._place.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._links: dict[Link, asyncio.Task[None]] = {}
        self._moving = {way: asyncio.Event() for way in Way}
        self._delay_s = dict.fromkeys(Way, 0.0)
        self._bytes_per_s: dict[Way, float | None] = dict.fromkeys(Way)
        self._wire: tuple[tuple[Passing, ...], Callable[[], None], Future[None]] | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self.resume()
        self.restore()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_TIMEOUT_S)
        self._loop.close()
        self._place.close()

    def cut(self) -> None:
        """Reset all connections and refuse new ones until restored."""
        self._call(self._cut)

    def restore(self) -> None:
        """Take new connections (again)."""
        self._run(self._listen())

    def reset(self) -> None:
        """Reset all connections; new ones are taken."""
        self._call(self._reset)

    def pause(self, *ways: Way) -> None:
        """Move nothing, or nothing in these directions, as a frozen peer does; connections are still taken."""
        self._call(lambda: self._pause(ways))

    def resume(self) -> None:
        """Move again, beginning with what has waited."""
        self._call(self._resume)

    def delay(self, seconds: float, *ways: Way) -> None:
        """Let bytes arrive later, in both directions or in these; 0 ends it."""
        self._call(lambda: self._delay_s.update(dict.fromkeys(ways or Way, seconds)))

    def throttle(self, bytes_per_s: float | None, *ways: Way) -> None:
        """Let so many bytes pass in a second and connection, in both directions or in these; None ends it."""
        self._call(lambda: self._bytes_per_s.update(dict.fromkeys(ways or Way, bytes_per_s)))

    def half_close(self, way: Way) -> None:
        """End one direction of the connections there are; the other one goes on."""
        self._call(lambda: self._half_close(way))

    def cut_when(self, *passings: Passing) -> Future[None]:
        """Cut once these have passed, one after another, on one connection; the future is done when it is cut."""
        return self._call(lambda: self._arm(passings, self._cut))

    def reset_when(self, *passings: Passing) -> Future[None]:
        """Like `cut_when`, but new connections are taken at once."""
        return self._call(lambda: self._arm(passings, self._reset))

    def pause_when(self, *passings: Passing) -> Future[None]:
        """Like `cut_when`, but everything freezes, and what waits passes when resumed."""
        return self._call(lambda: self._arm(passings, lambda: self._pause(())))

    def heal(self) -> None:
        """End every fault, also one that has not struck yet."""
        self._call(self._disarm)
        self.delay(0)
        self.throttle(None)
        self.resume()
        self.restore()

    @property
    def connections(self) -> int:
        """Count the connections there are."""
        return self._call(lambda: len(self._links))

    def _call(self, work: Callable[[], T]) -> T:
        async def call() -> T:
            return work()

        return self._run(call())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_TIMEOUT_S)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, sock=_bound(self.port))

    def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self._reset()

    def _reset(self) -> None:
        for link in self._links:
            link.reset()

    def _pause(self, ways: tuple[Way, ...]) -> None:
        for way in ways or Way:
            self._moving[way].clear()

    def _resume(self) -> None:
        for moving in self._moving.values():
            moving.set()

    def _half_close(self, way: Way) -> None:
        for link in self._links:
            link.end(way)

    def _arm(self, passings: tuple[Passing, ...], act: Callable[[], None]) -> Future[None]:
        struck: Future[None] = Future()
        self._wire = passings, act, struck
        for link in self._links:
            link.wire = Tripwire(passings)
        return struck

    def _disarm(self) -> None:
        self._wire = None
        for link in self._links:
            link.wire = None

    async def _end(self) -> None:
        self._cut()
        for serving in self._links.values():
            serving.cancel()
        await asyncio.gather(*self._links.values(), return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.current_task()
        assert serving is not None  # noqa: S101 - for the type checker
        link = Link()
        self._links[link] = serving
        link.writers[Way.TO_CLIENT] = writer
        with suppress(asyncio.CancelledError):
            try:
                async with asyncio.timeout(_CALL_TIMEOUT_S):
                    back, link.writers[Way.TO_SERVER] = await asyncio.open_connection(*self._target)
                link.wire = Tripwire(self._wire[0]) if self._wire else None
                async with asyncio.TaskGroup() as pipes:
                    pipes.create_task(self._pipe(link, Way.TO_SERVER, reader))
                    pipes.create_task(self._pipe(link, Way.TO_CLIENT, back))
                link.close()
            except* OSError:
                pass  # one side is gone: so is the other
            finally:
                link.reset()
                del self._links[link]

    async def _pipe(self, link: Link, way: Way, reader: asyncio.StreamReader) -> None:
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_CHUNKS_UNDER_WAY)

        async def read() -> None:
            data = b"more"
            while data:
                data = await reader.read(_CHUNK_BYTES)
                await under_way.put((self._loop.time() + self._delay_s[way], data))

        async with asyncio.TaskGroup() as pipe:
            pipe.create_task(read())
            while True:
                due, data = await under_way.get()
                await asyncio.sleep(due - self._loop.time())
                if not data:
                    break
                for piece in self._pieces(way, data):
                    await self._pass(link, way, piece)
            await self._moving[way].wait()
            link.end(way)

    def _pieces(self, way: Way, data: bytes) -> Iterator[bytes]:
        rate = self._bytes_per_s[way]
        size = max(1, int(rate / _PIECES_A_SECOND)) if rate else len(data)
        return (data[at : at + size] for at in range(0, len(data), size))

    async def _pass(self, link: Link, way: Way, data: bytes) -> None:
        await self._moving[way].wait()
        rate = self._bytes_per_s[way]
        if rate and not link.has_ended(way):
            await asyncio.sleep(len(data) / rate)
        until = link.wire.feed(way, data) if link.wire else None
        if until is None or self._wire is None:
            await link.write(way, data)
            return
        await link.write(way, data[:until])
        _, act, struck = self._wire
        self._disarm()
        act()
        struck.set_result(None)
        await self._moving[way].wait()
        await link.write(way, data[until:])


@contextmanager
def proxied(environment: Mapping[str, str], variable: str) -> Iterator[tuple[Proxy, dict[str, str]]]:
    """Give a proxy to the server whose URL a variable holds, and the environment in which that URL is the proxy's.

    A value without a scheme is host:port, as for Triton.
    """
    value = environment[variable]
    if "://" not in value:
        host, _, port = value.rpartition(":")
        with Proxy(host, int(port)) as proxy:
            yield proxy, {**environment, variable: f"{_HOST}:{proxy.port}"}
        return
    url = urlsplit(value)
    with Proxy(url.hostname or _HOST, url.port or 0) as proxy:
        login, at, _ = url.netloc.rpartition("@")
        through = url._replace(netloc=f"{login}{at}{_HOST}:{proxy.port}").geturl()
        yield proxy, {**environment, variable: through}


def _bound(port: int) -> socket.socket:
    place = socket.socket()
    # Both, so that the place can be kept beside the listening socket and after connections that have just ended.
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    place.bind((_HOST, port))
    return place
