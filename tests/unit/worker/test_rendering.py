"""Every kind of file that can be made of an output is made, whatever becomes of the others."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import numpy as np
import pytest
from pydicom import dcmread
from radbus_contracts.errors import TransientError
from radbus_dicom.derived.key_slices import overlaid
from radbus_dicom.derived.provenance import Provenance
from radbus_dicom.errors import OutputNotValid
from radbus_dicom.tones import Window
from radbus_machines.types import Code, KeyFrame, LabelMap, MachineOutput, Segment
from radbus_testing.phantom import chest_phantom
from radbus_testing.phantom_dicom import phantom_instances
from radbus_worker.adapters.rendering import ARCHIVE_KINDS, Renderer, Wanted, series_kinds
from radbus_worker.adapters.volumes import VolumeLoader
from structlog.testing import capture_logs

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom", "ignore::UserWarning:highdicom")

LUNG = Code("39607008", "SCT", "Lung")
ANATOMY = Code("123037004", "SCT", "Anatomical Structure")


class Inline:
    """A pool of no processes, in which the named work raises an error."""

    processes = 1

    def __init__(self, error: Exception | None = None, *, of: str = "") -> None:
        self._error, self._of = error, of

    async def run(self, work, *args, **kwargs):
        name = getattr(work, "func", work).__name__
        if self._error is not None and name == self._of:
            raise self._error
        return work(*args, **kwargs)


@pytest.fixture
def paths(tmp_path):
    found = []
    for number, content in enumerate(phantom_instances(chest_phantom(slices=3, rows=64))):
        found.append(tmp_path / f"{number}.dcm")
        found[-1].write_bytes(content)
    return found


@pytest.fixture
def rewritten(paths):
    """Change an element of all instances."""

    def rewrite(**changes):
        for path in paths:
            ds = dcmread(path)
            for keyword, value in changes.items():
                setattr(ds, keyword, value)
            ds.save_as(path)

    return rewrite


@pytest.fixture
def rendered(tmp_path, paths):
    """Render an output with one label map of each given name."""

    @asynccontextmanager
    async def loaded():
        async with VolumeLoader(Inline()).loaded(paths, attributes_of=lambda header: {}) as volume:
            yield volume

    async def render(pool, *, kinds=None, label=1, names=("lungs",)):
        async with loaded() as volume:
            labels = np.zeros(volume.plan.shape, np.uint8)
            labels[1, 10:20, 10:20] = label
            segment = Segment(1, "Lung", ANATOMY, LUNG, (0, 200, 0))
            maps = tuple(LabelMap(name, labels, (segment,)) for name in names)
            output = MachineOutput(summary="seen", label_maps=maps, key_frames=(KeyFrame(1, "Where it is"),))
            provenance = Provenance("job-1", "lung-ct", "1.2.0", "qct", 1, datetime(2026, 1, 2, tzinfo=UTC))
            wanted = Wanted(kinds or series_kinds(volume, output), tmp_path, provenance, "lung:1")
            return await Renderer(pool).render(volume, output, wanted)

    return render


@pytest.mark.parametrize(
    ("kind", "work"),
    [("gsps", "write_presentation_state"), ("sc", "write_secondary_captures"), ("rtstruct", "write_rt_structure_set")],
)
async def test_an_object_that_cannot_be_made_is_left_out_with_a_remark_and_no_word_of_its_error(rendered, kind, work):
    with capture_logs() as logs:
        made = await rendered(Inline(ValueError("Secret^Patient"), of=work))

    assert {file.kind for file in made.files} == {"seg", "gsps", "sc", "rtstruct", "npz", "sc_png", "json"} - {kind}
    (remark,) = made.remarks
    (json_file,) = [file for file in made.files if file.kind == "json"]
    assert remark in json.loads(json_file.path.read_bytes())["remarks"]
    assert [(line["event"], line["kind"], line["error"]) for line in logs] == [("object.left_out", kind, "ValueError")]
    assert "Secret" not in str(logs) + remark


async def test_what_another_attempt_may_do_better_and_all_that_a_client_waits_for_fail_the_attempt(rendered):
    with pytest.raises(TransientError):
        await rendered(Inline(TransientError("the pool died"), of="write_presentation_state"))
    with pytest.raises(ValueError, match="odd"):
        await rendered(Inline(ValueError("odd"), of="write_rt_structure_set"), kinds=ARCHIVE_KINDS)


async def test_a_radiograph_whose_low_values_are_bright_is_drawn_so_whatever_its_machine_is_granted(paths, rewritten):
    seen = {}
    for kind in ("MONOCHROME1", "MONOCHROME2"):
        rewritten(PhotometricInterpretation=kind)
        async with VolumeLoader(Inline()).loaded(paths, attributes_of=lambda header: {}) as loaded:
            picture, _ = overlaid(loaded.shared.volume_to_draw(), 1, [], Window(0, 1000), size=(64, 64))
            seen[kind] = np.asarray(picture)
            assert loaded.volume.attributes == {}

    assert np.array_equal(seen["MONOCHROME1"], 255 - seen["MONOCHROME2"])


async def test_label_maps_of_like_names_have_files_of_their_own(rendered):
    made = await rendered(Inline(), kinds=frozenset({"npz", "seg"}), names=("肺", "脳", "Labels 2"))

    names = {file.path.name for file in made.files} - {"output.json"}
    assert names == {
        *("seg-labels.dcm", "seg-labels-2.dcm", "seg-labels-2-2.dcm"),
        *("labels-labels.npz", "labels-labels-2.npz", "labels-labels-2-2.npz"),
    }


async def test_an_output_that_contradicts_itself_fails_whatever_could_be_made_of_it(rendered):
    with pytest.raises(OutputNotValid, match="for each label"):
        await rendered(Inline(), label=9)
