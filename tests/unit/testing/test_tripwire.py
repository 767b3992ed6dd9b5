"""Where a fault strikes: in the middle of what passes, however the bytes are cut into pieces."""

from __future__ import annotations

import pytest
from radbus_testing.tripwire import (
    Passing,
    Tripwire,
    Way,
    amqp_delivery,
    amqp_publish,
    bson_text,
    mongo_command,
)

UP, DOWN = Way.TO_SERVER, Way.TO_CLIENT


def passed(wire: Tripwire, *pieces: tuple[Way, bytes]) -> list[int | None]:
    return [wire.feed(way, data) for way, data in pieces]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_a_pattern_is_found_once_however_the_bytes_are_cut(size):
    data, wire = b"a publish here", Tripwire([Passing(UP, b"publish")])

    found = [wire.feed(UP, data[at : at + size]) for at in range(0, len(data), size)]

    ends = [at * size for at, position in enumerate(found) if position is not None]
    assert len(ends) >= 1
    assert ends[0] < len(b"a publish") <= ends[0] + size


def test_what_stands_before_the_pattern_passes_and_the_pattern_does_not():
    assert passed(Tripwire([Passing(UP, b"put")]), (UP, b"get;put")) == [4]


def test_the_other_direction_is_not_looked_at():
    assert passed(Tripwire([Passing(UP, b"put")]), (DOWN, b"put"), (UP, b"put")) == [None, 0]


def test_exactly_so_many_bytes_pass_over_several_pieces():
    assert passed(Tripwire([Passing(UP, after_bytes=7)]), (UP, b"12345"), (DOWN, b"x" * 9), (UP, b"6789")) == [
        None,
        None,
        2,
    ]


def test_passings_are_reached_one_after_another_also_within_one_piece():
    wire = Tripwire([Passing(UP, b"PUT"), Passing(UP, b"\r\n\r\n", after_bytes=3), Passing(DOWN)])

    assert passed(wire, (DOWN, b"early"), (UP, b"PUT /k\r\n\r\nbody"), (UP, b"more"), (DOWN, b"200")) == [
        None,
        None,
        None,
        0,
    ]


def test_bytes_are_counted_from_behind_the_pattern():
    assert passed(Tripwire([Passing(UP, b"\n\n", after_bytes=3)]), (UP, b"h\n\nbody")) == [6]


def test_a_publish_and_a_command_are_spelled_as_they_are_on_the_wire():
    assert amqp_publish("e", "k.v1") == b"\x00\x3c\x00\x28\x00\x00\x01e\x04k.v1"
    assert mongo_command("insert", "jobs") == b"\x02insert\x00\x05\x00\x00\x00jobs\x00"


def test_a_delivery_and_a_text_are_spelled_as_the_protocols_say():
    assert amqp_delivery("e", "k.v1") == b"\x01e\x04k.v1"
    assert bson_text("state", "ready") == b"\x02state\x00\x06\x00\x00\x00ready\x00"
