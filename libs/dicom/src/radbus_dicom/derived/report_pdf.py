"""Lay out the one-page report of a use case as PDF; the object store holds it, so the patient is named on it."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

from radbus_contracts.notice import RESEARCH_USE_ONLY
from radbus_machines.types import Finding, Measurement
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.platypus import Flowable, Image, KeepInFrame, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from radbus_dicom.derived.comparison import Comparison, days, number
from radbus_dicom.derived.lettering import Lettering, find_lettering
from radbus_dicom.derived.provenance import MANUFACTURER, Provenance

_MARGIN = 16 * mm
_PADDING = 12  # reportlab's frames pad 6 points at each edge
_WIDTH = A4[0] - 2 * _MARGIN - _PADDING
_HEIGHT = A4[1] - 2 * _MARGIN - _PADDING
_MAX_KEY_IMAGES = 4
_KEY_IMAGE_HEIGHT = 52 * mm
_GRID = TableStyle(
    [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LINEBELOW", (0, 0), (-1, -1), 0.25, colors.lightgrey),
        ("LEFTPADDING", (0, 0), (-1, -1), 2),
        ("TOPPADDING", (0, 0), (-1, -1), 1.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
    ]
)


@dataclass(frozen=True, slots=True)
class PatientFacts:
    """Who and what was examined, as text; empty where it is not known."""

    patient_name: str = ""
    patient_id: str = ""
    patient_birth_date: str = ""
    patient_sex: str = ""
    study_date: str = ""
    accession_number: str = ""
    study_description: str = ""


@dataclass(frozen=True, slots=True)
class KeyImage:
    """A PNG with its title, and its weight where there is no room for all."""

    title: str
    png: bytes
    weight: int = 0


@dataclass(frozen=True, slots=True)
class ReportContent:
    """All that goes onto the page; `provenance` names the first machine, `further_machines` the others in words."""

    title: str
    patient: PatientFacts
    summary: str
    provenance: Provenance
    measurements: tuple[Measurement, ...] = ()
    findings: tuple[Finding, ...] = ()
    key_images: tuple[KeyImage, ...] = ()
    limits: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    further_machines: tuple[str, ...] = ()
    comparisons: tuple[Comparison, ...] = ()


def make_report_pdf(content: ReportContent, *, lettering: Lettering | None = None) -> bytes:
    """Return the report as a PDF of one A4 page, shrunk where it is too long; the same bytes for the same content."""
    page = _Page(lettering or find_lettering())
    above = [
        *page.head(content),
        *page.result(content),
        *page.table(content),
        *page.comparison(content.comparisons),
    ]
    below = [
        *page.notes("What could not be judged", content.limits),
        *page.notes("Remarks on the images", content.remarks),
        *page.foot(content.provenance, content.further_machines),
    ]
    room = _HEIGHT - sum(each.wrap(_WIDTH, _HEIGHT)[1] for each in (*above, *below))
    images = page.images(_weightiest(content.key_images), room)
    stream = BytesIO()
    document = SimpleDocTemplate(
        stream,
        pagesize=A4,
        leftMargin=_MARGIN,
        rightMargin=_MARGIN,
        topMargin=_MARGIN,
        bottomMargin=_MARGIN,
        title=content.title,
        author=MANUFACTURER,
        subject=RESEARCH_USE_ONLY,
        invariant=1,
    )
    document.build([KeepInFrame(_WIDTH, _HEIGHT, [*above, *images, *below], mode="shrink")])
    return stream.getvalue()


def machine_in_words(name: str, version: str, weights_sha256: str | None) -> str:
    """Return a machine's name and version, and the weights where it has some."""
    return f"{name} {version}" + (f", weights sha256 {weights_sha256}" if weights_sha256 else "")


def readable_person_name(person_name: str) -> str:
    """Return a DICOM person name (PS3.5 6.2.1) as people write it, other spellings in parentheses."""
    spellings = []
    for group in person_name.split("="):
        family, given, middle, prefix, suffix, *_ = [part.strip() for part in group.split("^")] + [""] * 5
        first = " ".join(part for part in (prefix, given, middle, suffix) if part)
        spellings.append(_joined(family, first))
    alphabetic, *others = spellings
    rest = _joined(*others)
    return f"{alphabetic} ({rest})" if alphabetic and rest else alphabetic or rest


class _Page:
    """The parts of the page, each a list of flowables; all text goes through the lettering, which escapes it."""

    def __init__(self, lettering: Lettering) -> None:
        self._lettering = lettering

    def head(self, content: ReportContent) -> list[Flowable]:
        patient = content.patient
        rows = [
            ("Patient", readable_person_name(patient.patient_name), "Study date", _date(patient.study_date)),
            ("Patient ID", patient.patient_id, "Accession number", patient.accession_number),
            (
                "Born, sex",
                _joined(_date(patient.patient_birth_date), patient.patient_sex),
                "Study",
                patient.study_description,
            ),
        ]
        cells = [[self._text(cell, 9, bold=i % 2 == 0) for i, cell in enumerate(row)] for row in rows]
        widths = [share * _WIDTH for share in (0.14, 0.36, 0.18, 0.32)]
        return [
            self._text(content.title, 16, bold=True),
            self._text(RESEARCH_USE_ONLY, 10, bold=True, colour=colors.firebrick),
            Spacer(1, 2 * mm),
            Table(cells, colWidths=widths, style=_GRID),
            Spacer(1, 3 * mm),
        ]

    def result(self, content: ReportContent) -> list[Flowable]:
        judged = [self._text(f"{_mark(finding)} {finding.text}", 10) for finding in content.findings]
        return [self._text("Result", 11, bold=True), self._text(content.summary, 10), *judged, Spacer(1, 2 * mm)]

    def table(self, content: ReportContent) -> list[Flowable]:
        if not content.measurements:
            return []
        dates = dict.fromkeys(each.previous.day for each in content.comparisons if each.previous and each.changes)
        compared = [", ".join(dates), "Change"] if dates else []
        head = [self._text(name, 9, bold=True) for name in ("Measurement", "Value", *compared, "Definition")]
        # Sides share a definition, which is said once, below.
        numbers = {each.definition: 0 for each in content.measurements if each.definition}
        numbers = {definition: number for number, definition in enumerate(numbers, start=1)}
        rows = [
            [
                *self._row(each, content.comparisons, compared=bool(dates)),
                self._text(f"{numbers.get(each.definition, '')}", 9),
            ]
            for each in content.measurements
        ]
        widths = [share * _WIDTH for share in ((0.34, 0.16, 0.16, 0.22, 0.12) if dates else (0.56, 0.32, 0.12))]
        said = [self._text(f"{number}. {definition}", 7.5) for definition, number in numbers.items()]
        return [Table([head, *rows], colWidths=widths, style=_GRID), Spacer(1, 1 * mm), *said, Spacer(1, 3 * mm)]

    def _row(self, measurement: Measurement, comparisons: tuple[Comparison, ...], *, compared: bool) -> list[Paragraph]:
        change = next((found for each in comparisons if (found := each.change_of(measurement))), None)
        then = (
            [f"{number(change.previous)} {_unit(change.unit)}", change.words.replace(" %", "\u00a0%")]
            if change
            else ["", ""]
        )
        return [
            self._text(measurement.title, 9),
            self._text(f"{number(measurement.value)} {_unit(measurement.unit)}", 9),
            *(self._text(text, 9) for text in (then if compared else [])),
        ]

    def comparison(self, comparisons: tuple[Comparison, ...]) -> list[Flowable]:
        """Say with what was compared, or why with nothing; the numbers are in the table."""
        sentences: list[str] = []
        for each in comparisons:
            if each.previous is not None:
                none = "" if each.changes else " Nothing that both have measured."
                before = days(each.previous.days_between)
                sentences.append(
                    f"The previous result is of the study of {each.previous.day}, {before} before, by "
                    f"{each.previous.machine} {each.previous.machine_version}.{none}"
                )
            sentences.extend(each.remarks)
        return self.notes("Comparison with the previous result", tuple(dict.fromkeys(sentences)))

    def images(self, key_images: tuple[KeyImage, ...], room: float) -> list[Flowable]:
        """Show them two in a row where there is room for that, else all in one row."""
        if not key_images:
            return []
        large, small = self._rows(key_images, 2), self._rows(key_images, max(2, len(key_images)))
        return [large if large.wrap(_WIDTH, _HEIGHT)[1] <= room else small]

    def _rows(self, key_images: tuple[KeyImage, ...], columns: int) -> Table:
        width = _WIDTH / columns
        cells = [[self._image(each.png, width - 12), self._text(each.title, 8)] for each in key_images]
        cells += [[] for _ in range(-len(cells) % columns)]
        rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
        return Table(rows, colWidths=[width] * columns, style=TableStyle([("VALIGN", (0, 0), (-1, -1), "TOP")]))

    def notes(self, title: str, sentences: tuple[str, ...]) -> list[Flowable]:
        if not sentences:
            return []
        lines = [self._text(f"\u2022 {sentence}", 9) for sentence in sentences]
        return [self._text(title, 10, bold=True), *lines, Spacer(1, 2 * mm)]

    def foot(self, provenance: Provenance, further_machines: tuple[str, ...]) -> list[Flowable]:
        first = machine_in_words(provenance.machine, provenance.machine_version, provenance.weights_sha256)
        machines = " and the machine ".join([first, *further_machines])
        text = (
            f"Made by {MANUFACTURER} for the use case {provenance.use_case} (version {provenance.use_case_version}) "
            f"with the machine {machines}; job {provenance.job_id}, "
            f"{provenance.made_at:%Y-%m-%d %H:%M} {provenance.made_at.tzname() or ''}. {RESEARCH_USE_ONLY}"
        )
        return [self._text(text, 7.5, colour=colors.grey)]

    def _text(self, text: str, size: float, *, bold: bool = False, colour: colors.Color = colors.black) -> Paragraph:
        style = ParagraphStyle(
            "radbus", fontSize=size, leading=size * 1.3, textColor=colour, wordWrap="CJK" if _is_cjk(text) else None
        )
        return Paragraph(self._lettering.markup(text, bold=bold), style)

    def _image(self, png: bytes, width: float) -> Image:
        pixel_width, pixel_height = ImageReader(BytesIO(png)).getSize()
        scale = min(width / pixel_width, _KEY_IMAGE_HEIGHT / pixel_height)
        return Image(BytesIO(png), pixel_width * scale, pixel_height * scale)


def _weightiest(key_images: tuple[KeyImage, ...]) -> tuple[KeyImage, ...]:
    """Choose as many as there is room for, and keep their order."""
    best = sorted(range(len(key_images)), key=lambda each: -key_images[each].weight)[:_MAX_KEY_IMAGES]
    return tuple(key_images[each] for each in sorted(best))


def _mark(finding: Finding) -> str:
    match finding.present:
        case True:
            return "Present:"
        case False:
            return "Not seen:"
        case None:
            return "Not judged:"


def _date(text: str) -> str:
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdigit() else text


def _joined(*texts: str) -> str:
    return ", ".join(text for text in texts if text)


def _unit(ucum: str) -> str:
    return {"1": "", "[hnsf'U]": "HU"}.get(ucum, ucum)


def _is_cjk(text: str) -> bool:
    return any("\u2e80" <= char <= "\uffdc" for char in text)
