"""The words of an SR: what a machine says in sentences, as text items, and its findings with theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import Final

import highdicom as hd
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as PydicomCode
from radbus_contracts.notice import RESEARCH_USE_ONLY
from radbus_machines.types import Code, Finding, MachineOutput

from radbus_dicom.derived.coding import OWN_SCHEME, coded, one_line
from radbus_dicom.derived.comparison import Comparison

_INDETERMINATE: Final = PydicomCode("82334004", "SCT", "Indeterminate")
_COMMENT: Final = PydicomCode("121106", "DCM", "Comment")
_CONCLUSION: Final = PydicomCode("121077", "DCM", "Conclusion")
_COMPARISON: Final = PydicomCode("18834-2", "LN", "Radiology Comparison study")  # CID 7001
_CODE_CHARACTERS: Final = 16
_TEXT_CHARACTERS: Final = 1024  # UT holds more; viewers do not


def sentences(output: MachineOutput, comparison: Comparison | None) -> Iterator[hd.sr.TextContentItem]:
    """Give the summary and, as comments, the limits: TID 1500 may be extended."""
    compared = [] if comparison is None else [(_COMPARISON, comparison.summary)]
    texts = [(_CONCLUSION, output.summary), (_COMMENT, RESEARCH_USE_ONLY)]
    for name, text in [*texts, *compared, *((_COMMENT, each) for each in output.limits)]:
        yield from _items(name, text, hd.sr.RelationshipTypeValues.CONTAINS)


def evaluated(finding: Finding) -> hd.sr.QualitativeEvaluation:
    """Return a finding as present, absent or indeterminate, with its sentence below."""
    answers: Mapping[bool | None, PydicomCode] = {
        True: codes.SCT.Present,
        False: codes.SCT.Absent,
        None: _INDETERMINATE,
    }
    name = one_line(finding.name) or "finding"
    own = Code(name[:_CODE_CHARACTERS].strip(), OWN_SCHEME, name)
    evaluation = hd.sr.QualitativeEvaluation(name=coded(finding.code or own), value=answers[finding.present])
    sentence = [*_items(_COMMENT, finding.text, hd.sr.RelationshipTypeValues.HAS_PROPERTIES)]
    if sentence:
        evaluation[0].ContentSequence = hd.sr.ContentSequence(sentence)
    return evaluation


def _items(name: PydicomCode, text: str, relationship: hd.sr.RelationshipTypeValues) -> Iterator[hd.sr.TextContentItem]:
    """Give a text as items that viewers show whole; none of an empty one."""
    for part in wrap(text, _TEXT_CHARACTERS, replace_whitespace=False):
        yield hd.sr.TextContentItem(name=name, value=part, relationship_type=relationship)
