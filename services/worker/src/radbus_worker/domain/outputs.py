"""What a machine may answer at most: what it says goes into records, messages and pages of one size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite

from radbus_dicom.errors import OutputNotValid
from radbus_machines.types import Code, Finding, KeyFrame, LabelMap, Line, MachineOutput, Measurement, Site

MAX_EACH = 1_000
MAX_LABEL_MAPS = 64
MAX_KEY_FRAMES = 100
MAX_CHARACTERS = 20_000
MAX_CHARACTERS_TOGETHER = 2_000_000  # a record of MongoDB has 16 MB, in up to four bytes a character
_NAME_CHARACTERS = 200
_CODE_CHARACTERS = 64  # a meaning is an LO (PS3.5 6.2); longer values are URNs


def check_output(output: object, *, label_bytes: int) -> MachineOutput:
    """Return what a machine has answered when it is an answer, of a size that can be recorded and drawn.

    Raises:
        OutputNotValid: It is not; the text says what was expected and repeats nothing of it.
    """
    if not isinstance(output, MachineOutput):
        raise OutputNotValid(f"expected a MachineOutput as the machine's answer, got {type(output).__name__}")
    _each("measurements", output.measurements, Measurement, MAX_EACH)
    _each("findings", output.findings, Finding, MAX_EACH)
    _each("key frames", output.key_frames, KeyFrame, MAX_KEY_FRAMES)
    _each("label maps", output.label_maps, LabelMap, MAX_LABEL_MAPS)
    _each("lines", output.lines, Line, MAX_EACH)
    _each("limits", output.limits, str, MAX_EACH)
    if not all(isfinite(number) for line in output.lines for number in (*line.start, *line.end)):
        raise OutputNotValid("expected lines between finite places")
    _values(output)
    _texts(output)
    _codes(output)
    labelled = sum(label_map.labels.nbytes for label_map in output.label_maps)
    if labelled > label_bytes:
        raise OutputNotValid(f"expected label maps of at most {label_bytes} bytes together, got {labelled}")
    return output


def _each(what: str, items: Sequence[object], kind: type, limit: int) -> None:
    if not isinstance(items, tuple | list) or not all(isinstance(item, kind) for item in items):
        raise OutputNotValid(f"expected {what} as a tuple of {kind.__name__}")
    if len(items) > limit:
        raise OutputNotValid(f"expected at most {limit} {what}, got {len(items)}")


def _values(output: MachineOutput) -> None:
    names = list(output.values)
    if len(names) > MAX_EACH:
        raise OutputNotValid(f"expected at most {MAX_EACH} values, got {len(names)}")
    if not all(isinstance(name, str) and name.isprintable() and 0 < len(name) <= _NAME_CHARACTERS for name in names):
        raise OutputNotValid(f"expected names of values as printable text of 1 to {_NAME_CHARACTERS} characters")


def _texts(output: MachineOutput) -> None:
    together = 0
    for text in _all_texts(output):
        if not isinstance(text, str):
            raise OutputNotValid(f"expected text in the machine's answer, got {type(text).__name__}")
        if len(text) > MAX_CHARACTERS:
            raise OutputNotValid(f"expected texts of at most {MAX_CHARACTERS} characters, got one of {len(text)}")
        together += len(text)
    if together > MAX_CHARACTERS_TOGETHER:
        raise OutputNotValid(f"expected at most {MAX_CHARACTERS_TOGETHER} characters in all, got {together}")


def _codes(output: MachineOutput) -> None:
    for code in _all_codes(output):
        if not isinstance(code, Code):
            raise OutputNotValid(f"expected a Code in the machine's answer, got {type(code).__name__}")
        texts = (code.value, code.scheme, code.meaning)
        if not all(isinstance(text, str) and text.strip() and len(text) <= _CODE_CHARACTERS for text in texts):
            raise OutputNotValid(f"expected codes with value, scheme and meaning of 1 to {_CODE_CHARACTERS} characters")


def _all_codes(output: MachineOutput) -> Iterable[object]:
    yield from (measurement.concept for measurement in output.measurements)
    yield from (code for measurement in output.measurements for code in _codes_of(measurement.site))
    yield from (finding.code for finding in output.findings if finding.code is not None)
    for label_map in output.label_maps:
        for segment in label_map.segments:
            yield from (segment.category, segment.kind)
            if segment.laterality is not None:
                yield segment.laterality
            yield from _codes_of(segment.site)


def _codes_of(site: Site | None) -> Iterable[object]:
    if site is not None:
        if not isinstance(site, Site):
            raise OutputNotValid(f"expected a Site in the machine's answer, got {type(site).__name__}")
        yield site.part
        if site.laterality is not None:
            yield site.laterality


def _all_texts(output: MachineOutput) -> Iterable[object]:
    yield output.summary
    yield output.impression
    yield from (line.text for line in output.lines)
    yield from output.limits
    yield from (value for value in output.values.values() if isinstance(value, str))
    for measurement in output.measurements:
        yield from (measurement.name, measurement.title, measurement.unit, measurement.definition)
    for finding in output.findings:
        yield from (finding.name, finding.text)
    yield from (key_frame.title for key_frame in output.key_frames)
    for label_map in output.label_maps:
        yield label_map.name
        yield from (segment.name for segment in label_map.segments)
