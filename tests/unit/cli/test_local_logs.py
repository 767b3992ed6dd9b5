"""Reading a program's log."""

from __future__ import annotations

from pathlib import Path

from radbus_cli.local import logs


def test_the_last_lines_of_a_log_are_given_in_order(tmp_path: Path):
    file = tmp_path / "any.log"
    file.write_text("one\ntwo\nthree\n")

    lines = list(logs.read(file, lines=2, follow=False))

    assert lines == ["two", "three"]


def test_a_log_that_is_not_there_yet_has_no_lines(tmp_path: Path):
    file = tmp_path / "absent.log"

    lines = list(logs.read(file, lines=2, follow=False))

    assert lines == []


def test_following_gives_a_line_once_even_when_it_is_there_before_the_reader_looks_again(tmp_path: Path):
    file = tmp_path / "any.log"
    file.write_text("one\n")
    reader = logs.read(file, lines=10, follow=True)
    first = next(reader)

    with file.open("a") as log:
        log.write("two\nthr")

    assert (first, next(reader)) == ("one", "two")


def test_bytes_that_are_no_text_do_not_stop_the_reader(tmp_path: Path):
    file = tmp_path / "any.log"
    file.write_bytes(b"\xff\xfe\nnext\n")

    lines = list(logs.read(file, lines=10, follow=False))

    assert lines[-1] == "next"
