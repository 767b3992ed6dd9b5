"""Which images go to which input of a machine, and what the names in an archive say."""

from __future__ import annotations

import pytest
from radbus_dicom.errors import SeriesNotUsable
from radbus_worker.domain.archives import ArchiveEntry, by_channel, channel_of
from radbus_worker.domain.channels import assigned, largest_series


def test_channels_come_in_the_order_of_the_machine_whatever_the_case_of_their_names():
    given = {"FLAIR": "b", "seg": "c", "Ct": "a"}

    assert list(assigned(("ct", "flair"), given).items()) == [("ct", "a"), ("flair", "b")]


@pytest.mark.parametrize(
    ("wanted", "given", "words"),
    [
        (("ct", "flair"), {"ct": "a"}, "each of the channels ct, flair; there are none of flair"),
        (("ct", "flair"), {"": "a"}, "none of ct, flair"),
        (("ct", "flair"), {}, "none of ct, flair"),
        (("ct",), {"mr": "a"}, "none of ct"),
        ((), {"ct": "a", "flair": "b"}, "one channel; there are 2"),
        ((), {}, "one channel; there are 0"),
    ],
)
def test_what_a_machine_cannot_take_is_not_usable_and_the_reason_is_said(wanted, given, words):
    with pytest.raises(SeriesNotUsable, match=words):
        assigned(wanted, given)


@pytest.mark.parametrize(
    ("wanted", "name", "channel"),
    [((), "anything", "anything"), ((), "", ""), (("ct",), "", "ct"), (("ct",), "CT", "ct")],
)
def test_a_machine_with_one_input_takes_the_only_channel(wanted, name, channel):
    assert assigned(wanted, {name: "a"}) == {channel: "a"}


@pytest.mark.parametrize(
    ("name", "channel"),
    [
        ("ct/1.dcm", "ct"),
        ("ct\\1.dcm", "ct"),
        ("flair/17", "flair"),
        ("1.dcm", ""),
        ("/ct/1.dcm", "ct"),
        ("../../ct/1.dcm", "ct"),
        ("..\\..\\1.dcm", ""),
        ("ct/deep/er/1.dcm", "ct"),
        ("ct/", None),
        ("ct\\", None),
        ("..", None),
        ("__MACOSX/ct/._1.dcm", None),
        ("ct/.DS_Store", None),
    ],
)
def test_the_first_folder_of_an_entry_is_its_channel(name, channel):
    assert channel_of(name) == channel


def test_entries_without_folder_belong_to_the_only_channel_there_is():
    entries = [ArchiveEntry(index, channel) for index, channel in enumerate(("ct", "", "CT"))]

    assert by_channel(entries) == {"ct": [0, 2, 1]}
    assert by_channel([*entries, ArchiveEntry(3, "mr")]).keys() == {"ct", "mr", ""}


def test_of_several_series_the_largest_is_chosen_and_that_is_said():
    assert largest_series(["b", "a", "b"]) == ("b", ("Of 2 series, the one with the most images was judged.",))
    assert largest_series(["a", "a"]) == ("a", ())
