"""The fault kit on real sockets: what each fault does to a client, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from radbus_testing.proxy import Proxy, proxied
from radbus_testing.tripwire import Passing, Way
from radbus_testing.waiting import eventually

DEADLINE_S = 5


class Echo:
    """A server that sends back what it gets, and says what it got."""

    def __init__(self) -> None:
        self.got: dict[int, bytes] = {}
        self.ends: list[str] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connected,), daemon=True).start()

    def _serve(self, connected: socket.socket) -> None:
        number = connected.fileno()
        with connected:
            try:
                while data := connected.recv(65536):
                    self.got[number] = self.got.get(number, b"") + data
                    connected.sendall(data)
                self.ends.append("end")
                connected.sendall(b"bye")
            except OSError as error:
                self.ends.append(type(error).__name__)

    @property
    def all(self) -> bytes:
        return b"".join(self.got.values())


@pytest.fixture
def echo() -> Iterator[Echo]:
    with closing(Echo()) as server:
        yield server


@pytest.fixture
def proxy(echo) -> Iterator[Proxy]:
    with Proxy("127.0.0.1", echo.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy) -> Iterator[socket.socket]:
    with connect(proxy) as connected:
        ask(connected, b"hello")
        yield connected


@pytest.fixture
def beside(echo) -> Iterator[socket.socket]:
    """A connection to the same server through a proxy of its own, which has no fault."""
    with Proxy("127.0.0.1", echo.port) as healthy, connect(healthy) as connected:
        yield connected


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=DEADLINE_S)


def receive(connected: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := connected.recv(count - len(data))):
        data += more
    return data


def ask(connected: socket.socket, data: bytes) -> None:
    connected.sendall(data)
    assert receive(connected, len(data)) == data


def nothing_comes(connected: socket.socket, beside: socket.socket) -> bool:
    """Wait while many answers come beside it: on a slow machine these take longer too."""
    for _ in range(200):
        ask(beside, b"beside")
    connected.setblocking(False)
    try:
        connected.recv(1)
    except BlockingIOError:
        return True
    finally:
        connected.settimeout(DEADLINE_S)
    return False


def test_bytes_pass_whole_in_both_directions(proxy, client):
    data = bytes(range(256)) * 8000

    sending = threading.Thread(target=client.sendall, args=(data,))
    sending.start()

    assert receive(client, len(data)) == data
    sending.join()


def test_an_orderly_end_is_passed_on_and_answers_after_it_still_come(proxy, client, echo):
    client.shutdown(socket.SHUT_WR)

    assert receive(client, 99) == b"bye"
    assert echo.ends == ["end"]


def test_a_cut_resets_both_ends_and_refuses_until_it_is_restored(proxy, client, echo):
    proxy.cut()

    with pytest.raises(ConnectionResetError):
        client.recv(1)
    eventually(lambda: echo.ends == ["ConnectionResetError"], timeout_s=DEADLINE_S, what="reset of the server")
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    proxy.restore()
    with connect(proxy) as again:
        ask(again, b"back")


def test_after_a_reset_new_connections_are_taken_at_once(proxy, client):
    proxy.reset()

    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with connect(proxy) as again:
        ask(again, b"back")


def test_a_frozen_peer_takes_connections_and_moves_nothing_until_it_goes_on(proxy, client, beside, echo):
    proxy.pause()
    client.sendall(b"held")
    with connect(proxy) as newcomer:
        newcomer.sendall(b"held too")

        assert nothing_comes(client, beside)
        assert nothing_comes(newcomer, beside)
        assert b"held" not in echo.all

        proxy.resume()
        assert receive(client, 4) == b"held"
        assert receive(newcomer, 8) == b"held too"


def test_one_direction_alone_can_be_frozen(proxy, client, beside, echo):
    proxy.pause(Way.TO_CLIENT)
    client.sendall(b"one way")

    eventually(lambda: b"one way" in echo.all, timeout_s=DEADLINE_S, what="the bytes at the server")
    assert nothing_comes(client, beside)


def test_a_delay_is_waited_for_each_way_and_not_for_each_piece(proxy, client):
    delay_s, pieces, most_of_a_piece = 0.2, 50, 65_536
    data = bytes(pieces * most_of_a_piece)
    proxy.delay(delay_s, Way.TO_SERVER)
    started = time.monotonic()

    sending = threading.Thread(target=client.sendall, args=(data,))
    sending.start()
    assert receive(client, len(data)) == data
    sending.join()

    assert delay_s <= time.monotonic() - started < pieces * delay_s


def test_a_throttle_lets_no_more_bytes_pass_in_a_second(proxy, client):
    proxy.throttle(10_000, Way.TO_SERVER)
    started = time.monotonic()

    ask(client, b"x" * 5_000)
    slow_s = time.monotonic() - started
    proxy.throttle(None)
    ask(client, b"x" * 50_000)

    assert slow_s >= 0.5


def test_a_half_closed_connection_ends_in_one_direction_only(proxy, client, echo):
    proxy.half_close(Way.TO_SERVER)

    assert receive(client, 99) == b"bye"
    assert echo.ends == ["end"]


def test_a_cut_after_so_many_bytes_lets_exactly_these_pass(proxy, client, echo):
    cut = proxy.cut_when(Passing(Way.TO_SERVER, after_bytes=1000))

    client.sendall(b"y" * 3000)
    cut.result(DEADLINE_S)

    with pytest.raises(ConnectionResetError):
        receive(client, 3000)
    eventually(lambda: echo.ends, timeout_s=DEADLINE_S, what="end of the server's connection")
    assert echo.all.count(b"y") == 1000


def test_a_cut_between_a_request_and_its_answer_leaves_the_request_with_the_server(proxy, client, echo):
    cut = proxy.cut_when(Passing(Way.TO_SERVER, b"write"), Passing(Way.TO_CLIENT))

    client.sendall(b"write it")
    cut.result(DEADLINE_S)

    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert echo.all.endswith(b"write it")


def test_a_fault_strikes_once_and_the_sequence_counts_on_each_connection_of_its_own(proxy, client):
    struck = proxy.reset_when(Passing(Way.TO_SERVER, b"first"), Passing(Way.TO_SERVER, b"second"))
    with connect(proxy) as other:
        ask(other, b"first")
        ask(client, b"second")
        assert not struck.done()

        other.sendall(b"second")
        struck.result(DEADLINE_S)

    with connect(proxy) as again:
        ask(again, b"first second")


def test_what_was_on_its_way_when_all_froze_arrives_once_all_goes_on(proxy, client, echo):
    frozen = proxy.pause_when(Passing(Way.TO_SERVER, b"now"))

    client.sendall(b"before now after")
    frozen.result(DEADLINE_S)
    eventually(lambda: echo.all.endswith(b"before "), timeout_s=DEADLINE_S, what="what came before")

    proxy.resume()
    assert receive(client, 16) == b"before now after"


def test_a_healed_proxy_has_no_fault_left(proxy, client):
    proxy.delay(60)
    proxy.throttle(1)
    proxy.pause()
    proxy.cut()
    struck = proxy.cut_when(Passing(Way.TO_SERVER))

    proxy.heal()

    with connect(proxy) as again:
        ask(again, b"well" * 1000)
    assert not struck.done()


def test_a_server_that_is_not_there_is_a_reset(echo):
    with Proxy("127.0.0.1", 9) as proxy, pytest.raises(ConnectionResetError):  # seen while connecting, or after it
        connect(proxy).recv(1)


def test_nothing_is_left_of_a_proxy_that_was_frozen_with_connections_open(echo):
    with Proxy("127.0.0.1", echo.port) as proxy:
        assert threads_of_proxies() == 1
        with connect(proxy) as client:
            ask(client, b"hello")
            proxy.throttle(1)
            client.sendall(b"x" * 1000)
            proxy.pause()
            assert proxy.connections == 1
        port = proxy.port

    assert threads_of_proxies() == 0
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", port))


def threads_of_proxies() -> int:
    return sum(thread.name == "proxy" for thread in threading.enumerate())


async def test_an_asynchronous_test_steers_it_in_the_same_way(echo):
    with proxied({"URL": f"amqp://user:secret@127.0.0.1:{echo.port}/"}, "URL") as (proxy, environment):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        cut = proxy.cut_when(Passing(Way.TO_SERVER, b"stop"))
        writer.write(b"stop")
        await asyncio.wait_for(asyncio.wrap_future(cut), DEADLINE_S)

        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        writer.transport.abort()

    assert environment == {"URL": f"amqp://user:secret@127.0.0.1:{proxy.port}/"}
