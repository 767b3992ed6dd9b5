"""Make a Grayscale Softcopy Presentation State (PS3.3 A.33.1): outlines and text over the source frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian
from radbus_contracts.notice import RESEARCH_USE_ONLY
from radbus_machines.types import Frame, KeyFrame, LabelMap, Line, Segment

from radbus_dicom.derived.contours import Polygon, trace
from radbus_dicom.derived.labels import check_labels
from radbus_dicom.derived.provenance import MANUFACTURER, Provenance
from radbus_dicom.derived.sources import sources_for_highdicom
from radbus_dicom.derived.stamping import LONG_STRING_CHARACTERS, code_string, stamp
from radbus_dicom.errors import OutputNotValid
from radbus_dicom.frames import rescalings
from radbus_dicom.identity import derived_uid, series_uid
from radbus_dicom.quiet import silence_pydicom
from radbus_dicom.radiographs import is_inverted
from radbus_dicom.tones import Curve, Tone

silence_pydicom()

SERIES_NUMBER: Final = 9300
_SHORT_TEXT_CHARACTERS: Final = 1024
_MOST_POINTS: Final = 65_535
"""NumberOfGraphicPoints is US; an outline is closed by its first point."""
_MOST_HOLES: Final = 100
"""Of one outline: more are noise, which no reader can see."""
_TOP: Final = (0.0, 0.0, 1.0, 0.05)
"""Where key frames' titles stand, and below where the notice does, as parts of the display (PS3.3 C.10.5)."""
_BOTTOM: Final = (0.0, 0.95, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Drawn:
    """What is drawn over the frames of one volume."""

    label_maps: Sequence[LabelMap]
    key_frames: Sequence[KeyFrame]
    frames: Sequence[Frame]
    window: Tone
    lines: Sequence[Line] = ()


def make_presentation_state(drawn: Drawn, *, sources: Sequence[Dataset], provenance: Provenance) -> Dataset | None:
    """Return the presentation state; to be written as implicit VR little endian, for outlines may be long.

    None where one state cannot show all instances: their values are rescaled differently, and it can hold one way only.
    `sources` are the headers of the source instances, in any order.

    Raises:
        OutputNotValid: The labels do not match the frames or the segments, or the source of a frame is absent.
    """
    if not sources:
        raise OutputNotValid("expected the headers of the source instances")
    for label_map in drawn.label_maps:
        check_labels(label_map, frames=len(drawn.frames))
    images = sources_for_highdicom(sources, drawn.frames)
    draw = _Draughtsman(images, drawn)
    shown = {str(image.SOPInstanceUID) for image in images}
    rescaled = {each for source in sources if str(source.SOPInstanceUID) in shown for each in rescalings(source)}
    if len(rescaled) > 1:
        return None
    name = f"pr/{provenance.of_series(images[0].SeriesInstanceUID)}"
    state = hd.pr.GrayscaleSoftcopyPresentationState(
        referenced_images=images,
        series_instance_uid=series_uid(provenance.job_id, name),
        series_number=SERIES_NUMBER,
        sop_instance_uid=derived_uid(provenance.job_id, name),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=provenance.machine,
        software_versions=provenance.machine_version,
        device_serial_number=(provenance.weights_sha256 or provenance.job_id)[:LONG_STRING_CHARACTERS],
        content_label=code_string(provenance.use_case),
        content_description=RESEARCH_USE_ONLY,
        content_creator_name=f"{provenance.machine}^{MANUFACTURER}",
        graphic_layers=draw.layers or None,
        graphic_annotations=[*draw.annotations()],
        # None is left to highdicom: it refuses sources whose elements are odd, or takes those of the first slice only.
        modality_lut_transformation=_modality_lut(images[0], *rescaled.pop()),
        voi_lut_transformations=[_windowed(drawn.window)],
        presentation_lut_transformation=_presentation_lut(images[0]),
        transfer_syntax_uid=ImplicitVRLittleEndian,
        specific_character_set=None,  # it is copied with the stamp: highdicom does not know all
    )
    state.Laterality = ""  # type 2C: nobody says that what is shown has only one side
    return stamp(state, title=f"{provenance.use_case} outlines", source=images[0], provenance=provenance)


def _modality_lut(image: Dataset, slope: float, intercept: float) -> hd.ModalityLUTTransformation:
    kind = str(image.get("RescaleType") or ("HU" if image.get("Modality") == "CT" else "US"))
    return hd.ModalityLUTTransformation(rescale_slope=slope, rescale_intercept=intercept, rescale_type=kind)


def _windowed(window: Tone) -> hd.pr.SoftcopyVOILUTTransformation:
    if isinstance(window, Curve):
        lut = hd.VOILUT(first_mapped_value=window.first, lut_data=window.entries)
        return hd.pr.SoftcopyVOILUTTransformation(voi_luts=[lut])
    # Narrower than 1 a linear window has no meaning (PS3.3 C.11.2.1.2.1).
    return hd.pr.SoftcopyVOILUTTransformation(
        window_center=window.centre,
        window_width=max(window.width, 1.0),
        voi_lut_function=hd.VOILUTFunctionValues.SIGMOID if window.sigmoid else None,
    )


def _presentation_lut(image: Dataset) -> hd.PresentationLUTTransformation:
    shape = "INVERSE" if is_inverted(image) else "IDENTITY"
    return hd.PresentationLUTTransformation(presentation_lut_shape=shape)


class _Draughtsman:
    """Draws on the frames: a layer for each segment, in its colour, and one for the words."""

    def __init__(self, images: Sequence[Dataset], drawn: Drawn) -> None:
        self._images = {str(image.SOPInstanceUID): image for image in images}
        self._drawn = drawn
        self._segments = [(each, segment) for each in drawn.label_maps for segment in each.segments]
        self._outlines = [
            hd.pr.GraphicLayer(
                layer_name=code_string(f"S{number}_{segment.name}"),
                order=number,
                description=segment.name[:LONG_STRING_CHARACTERS],
                display_color=hd.color.CIELabColor.from_rgb(*segment.colour),
            )
            for number, (_, segment) in enumerate(self._segments, start=1)
        ]
        self._words = hd.pr.GraphicLayer(layer_name="WORDS", order=len(self._segments) + 1)

    @property
    def layers(self) -> list[hd.pr.GraphicLayer]:
        return [*self._outlines, self._words]

    def annotations(self) -> Iterator[hd.pr.GraphicAnnotation]:
        yield self._annotation_of_all()
        for key_frame in self._drawn.key_frames:
            if not key_frame.title:
                continue
            frame = self._drawn.frames[key_frame.frame]
            yield self._annotation(frame, self._words, texts=[_words(key_frame.title[:_SHORT_TEXT_CHARACTERS], _TOP)])
        for layer, (label_map, segment) in zip(self._outlines, self._segments, strict=True):
            yield from self._outlined(layer, label_map, segment)
        for line in self._drawn.lines:
            frame = self._drawn.frames[line.frame]
            yield self._annotation(frame, self._words, graphics=[_distance(line)], texts=[_beside(line)])

    def _outlined(
        self, layer: hd.pr.GraphicLayer, label_map: LabelMap, segment: Segment
    ) -> Iterator[hd.pr.GraphicAnnotation]:
        for frame, plane in zip(self._drawn.frames, label_map.labels, strict=True):
            traced = trace(plane == segment.number, most_holes=_MOST_HOLES)
            polygons = [polygon for polygon in traced if len(polygon) < _MOST_POINTS]
            if polygons:
                yield self._annotation(frame, layer, graphics=[_polyline(polygon) for polygon in polygons])

    def _annotation_of_all(self) -> hd.pr.GraphicAnnotation:
        return hd.pr.GraphicAnnotation(
            referenced_images=list(self._images.values()),
            graphic_layer=self._words,
            text_objects=[_words(RESEARCH_USE_ONLY, _BOTTOM)],
        )

    def _annotation(
        self,
        frame: Frame,
        layer: hd.pr.GraphicLayer,
        *,
        graphics: Sequence[hd.pr.GraphicObject] = (),
        texts: Sequence[hd.pr.TextObject] = (),
    ) -> hd.pr.GraphicAnnotation:
        image = self._images[frame.sop_instance_uid]
        return hd.pr.GraphicAnnotation(
            referenced_images=[image],
            graphic_layer=layer,
            referenced_frame_number=frame.frame_number if int(image.get("NumberOfFrames") or 1) > 1 else None,
            graphic_objects=list(graphics) or None,
            text_objects=list(texts) or None,
        )


def _polyline(polygon: Polygon) -> hd.pr.GraphicObject:
    """Close a polygon, in columns and rows from the outer corner of the first pixel (PS3.3 C.10.5.1.2)."""
    closed = np.concatenate([polygon, polygon[:1]])[:, ::-1] + 0.5
    return hd.pr.GraphicObject(
        graphic_type=hd.pr.GraphicTypeValues.POLYLINE, graphic_data=closed, units=hd.pr.AnnotationUnitsValues.PIXEL
    )


def _distance(line: Line) -> hd.pr.GraphicObject:
    return hd.pr.GraphicObject(
        graphic_type=hd.pr.GraphicTypeValues.POLYLINE,
        graphic_data=np.array([_corner_based(line.start), _corner_based(line.end)]),
        units=hd.pr.AnnotationUnitsValues.PIXEL,
    )


def _beside(line: Line) -> hd.pr.TextObject:
    middle = ((line.start[0] + line.end[0]) / 2, (line.start[1] + line.end[1]) / 2)
    return hd.pr.TextObject(
        text_value=line.text[:_SHORT_TEXT_CHARACTERS],
        units=hd.pr.AnnotationUnitsValues.PIXEL,
        anchor_point=_corner_based(middle),
        anchor_point_visible=False,
    )


def _corner_based(place: tuple[float, float]) -> tuple[float, float]:
    """Return column and row of a place from the outer corner of the first pixel (PS3.3 C.10.5.1.2)."""
    return place[1] + 0.5, place[0] + 0.5


def _words(text: str, box: tuple[float, float, float, float]) -> hd.pr.TextObject:
    return hd.pr.TextObject(
        text_value=text,
        units=hd.pr.AnnotationUnitsValues.DISPLAY,
        bounding_box=box,
        text_justification=hd.pr.TextJustificationValues.LEFT,
    )
