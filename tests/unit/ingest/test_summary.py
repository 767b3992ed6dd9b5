"""What a series record says of its instances."""

from __future__ import annotations

from radbus_ingest.domain.summary import DISTINCT_LIMIT, SeriesSummary


def test_the_representative_is_the_middle_instance_by_number() -> None:
    summary = SeriesSummary()

    for number in (5, 1, 4, 2, 3):
        summary.add(f"1.{number}", {"InstanceNumber": number})

    assert summary.representative == "1.3"
    assert summary.instance_count == 5


def test_without_instance_numbers_the_representative_is_the_middle_uid() -> None:
    summary = SeriesSummary()

    for uid in ("1.3", "1.1", "1.2"):
        summary.add(uid, {})

    assert summary.representative == "1.2"


def test_only_elements_in_which_instances_differ_are_listed_each_value_once() -> None:
    summary = SeriesSummary()

    for number, kind in enumerate(["A", "B", "A"]):
        summary.add(f"1.{number}", {"Modality": "CT", "ImageType": ["ORIGINAL", kind], "InstanceNumber": number})

    assert summary.distinct == {"ImageType": [["ORIGINAL", "A"], ["ORIGINAL", "B"]], "InstanceNumber": [0, 1, 2]}


def test_the_lists_are_bounded() -> None:
    summary = SeriesSummary()

    for number in range(DISTINCT_LIMIT + 50):
        summary.add(f"1.{number}", {"SliceLocation": number, "ImageComments": str(number) * 1000})

    assert len(summary.distinct["SliceLocation"]) == DISTINCT_LIMIT
    assert "ImageComments" not in summary.distinct
