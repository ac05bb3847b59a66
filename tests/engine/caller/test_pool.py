"""What no server can be made to do at the right instant: the pool and a connection over a fake transport."""

import asyncio
from collections.abc import Callable

import pytest

from orchestrator.domain.outcome import FailureKind, NoResponse, Response
from orchestrator.engine.answer_reader import AnswerReader
from orchestrator.engine.connection import Connection, Deadline, Origin
from orchestrator.engine.dialer import Dialer, P
from orchestrator.engine.pool import Pool
from orchestrator.engine.target import Target, Unreachable, read_url
from tests.engine.caller.servers import OK

APP = read_url("https://app.test/")


class Wire(asyncio.Transport):
    """A transport to nowhere, which closes in the event loop's next turn, as real ones do."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.is_aborted = False
        self._connection = connection

    def write(self, data: object) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.is_aborted

    def abort(self) -> None:
        if not self.is_aborted:
            asyncio.get_running_loop().call_soon(self._connection.connection_lost, None)
        self.is_aborted = True


class InstantDialer(Dialer):
    """Opens a connection to nowhere, once `may_open` is set."""

    def __init__(self) -> None:
        self.wires: list[Wire] = []
        self.may_open = asyncio.Event()
        self.may_open.set()

    async def dial(self, target: Target, verify_tls: bool, deadline: Deadline, factory: Callable[[], P]) -> P:
        await self.may_open.wait()
        connection = factory()
        assert isinstance(connection, Connection)
        self.wires.append(Wire(connection))
        connection.connection_made(self.wires[-1])
        return connection


@pytest.fixture
async def dialer() -> InstantDialer:
    return InstantDialer()


def soon() -> Deadline:
    return Deadline(asyncio.get_running_loop().time() + 5, 5)


async def test_an_expired_connection_is_not_lent_even_before_it_is_swept(dialer: InstantDialer) -> None:
    pool = Pool(dialer, max_connections=2, keepalive_secs=60)
    first = await pool.take(APP, True, soon())
    pool.give_back(first)
    assert await pool.take(APP, True, soon()) is first
    pool.give_back(first)
    first.kept_since -= 61

    assert await pool.take(APP, True, soon()) is not first
    assert [wire.is_aborted for wire in dialer.wires] == [True, False]


async def test_the_youngest_connection_is_lent_first(dialer: InstantDialer) -> None:
    pool = Pool(dialer, max_connections=2, keepalive_secs=60)
    first, second = [await pool.take(APP, True, soon()) for _ in range(2)]
    pool.give_back(second)
    pool.give_back(first)

    assert await pool.take(APP, True, soon()) is first


async def test_calls_to_ever_other_hosts_do_not_pile_up_connections(dialer: InstantDialer) -> None:
    pool = Pool(dialer, max_connections=2, keepalive_secs=60)
    for number in range(20):
        pool.give_back(await pool.take(read_url(f"https://app{number}.test/"), True, soon()))
        await asyncio.sleep(0)

    assert pool.open_count <= 5
    await pool.close()
    assert all(wire.is_aborted for wire in dialer.wires)


async def test_a_connection_that_opens_after_the_close_is_closed(dialer: InstantDialer) -> None:
    pool = Pool(dialer, max_connections=2, keepalive_secs=60)
    dialer.may_open.clear()
    taking = asyncio.create_task(pool.take(APP, True, soon()))
    await asyncio.sleep(0)
    await pool.close()
    dialer.may_open.set()

    with pytest.raises(Unreachable) as caught:
        await taking
    assert caught.value.kind is FailureKind.LOST
    assert [wire.is_aborted for wire in dialer.wires] == [True]


async def test_a_connection_lost_before_it_is_lent_does_not_hold_up_the_close(dialer: InstantDialer) -> None:
    class LosingDialer(InstantDialer):
        async def dial(self, target: Target, verify_tls: bool, deadline: Deadline, factory: Callable[[], P]) -> P:
            connection = await super().dial(target, verify_tls, deadline, factory)
            assert isinstance(connection, Connection)
            connection.connection_lost(None)
            return connection

    pool = Pool(LosingDialer(), max_connections=2, keepalive_secs=60)
    pool.give_back(await pool.take(APP, True, soon()))

    assert pool.open_count == 0
    await asyncio.wait_for(pool.close(), 5)


async def test_what_arrives_with_the_answer_already_read_ends_the_connection() -> None:
    connection = Connection(Origin(True, True, "app.test", 443), lambda _: None)
    wire = Wire(connection)
    connection.connection_made(wire)
    exchange = asyncio.create_task(connection.exchange(b"", AnswerReader(9, lambda: 0.0), soon()))
    await asyncio.sleep(0)
    connection.data_received(OK)
    connection.data_received(OK)

    assert await exchange == Response(200, b"{}")
    assert wire.is_aborted


@pytest.mark.parametrize("speaks", [True, False])
async def test_nothing_is_sent_on_a_connection_that_was_given_up_meanwhile(speaks: bool) -> None:
    connection = Connection(Origin(True, True, "app.test", 443), lambda _: None)
    connection.connection_made(Wire(connection))
    if speaks:
        connection.data_received(OK)
    else:
        connection.connection_lost(None)
    outcome = await connection.exchange(b"", AnswerReader(9, lambda: 0.0), soon())

    why = "the server closed the connection, or spoke on it, before the request was sent"
    assert outcome == NoResponse(FailureKind.CONNECTION_RESET, why, sent=False)
