"""A body that comes too slowly is late, however regularly a byte of it comes."""

from __future__ import annotations

from radbus_ingest.domain.pace import Pace


def test_bytes_that_come_one_by_one_give_no_more_time():
    pace = Pace(least_bytes_per_s=1024, within_s=60)

    pace.came(1, waited_s=59)

    assert pace.left_s == 1
    pace.came(1, waited_s=59)
    assert pace.left_s == 0


def test_a_body_that_keeps_its_pace_always_has_the_whole_time_again():
    pace = Pace(least_bytes_per_s=1024, within_s=60)

    for _ in range(1000):
        pace.came(30 * 1024, waited_s=29)
        pace.came(30 * 1024, waited_s=29)

        assert pace.left_s == 60


def test_where_no_pace_is_asked_for_one_byte_is_enough():
    pace = Pace(least_bytes_per_s=0, within_s=60)

    pace.came(1, waited_s=59)

    assert pace.left_s == 60
