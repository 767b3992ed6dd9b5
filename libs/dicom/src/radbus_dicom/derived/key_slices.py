"""Draw a key slice as PNG: the frame in a window, labels over it, where it lies, and that it is for research only."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from radbus_contracts.notice import RESEARCH_USE_ONLY
from radbus_machines.radiograph import collimated_field
from radbus_machines.types import KeyFrame, LabelMap, Line, Segment, Volume

from radbus_dicom.derived.lettering import FONT_FOLDER
from radbus_dicom.radiographs import PROJECTION_MODALITIES, opposite
from radbus_dicom.tones import Tone, Window

LUNG_WINDOW_CENTRE, LUNG_WINDOW_WIDTH = -600.0, 1500.0
_LONG_SIDE_PX = 768
_HEADER_PX = 48
_LINE_PX = 22
_MARGIN_PX = 10
_FILL_OPACITY = 0.28
_WHITE, _GREY, _YELLOW = (255, 255, 255), (170, 170, 170), (255, 220, 90)
_OBLIQUE = 0.35  # a direction's second letter is told from about 20 degrees on


LUNG_WINDOW = Window(LUNG_WINDOW_CENTRE, LUNG_WINDOW_WIDTH)
SOFT_TISSUE_WINDOW = Window(40.0, 400.0)
BRAIN_WINDOW = Window(40.0, 80.0)


def default_window(volume: Volume) -> Window:
    """Return the window of the volume's attributes, else one that suits its modality or its values."""
    centre, width = (_first_number(volume.attributes.get(f"Window{part}")) for part in ("Center", "Width"))
    if centre is not None and width is not None and width > 0:
        return Window(centre, width)
    if volume.modality == "CT":
        return SOFT_TISSUE_WINDOW
    sample = volume.voxels[:: max(1, len(volume.voxels) // 8), ::4, ::4]
    if volume.projection is not None:
        top, bottom, left, right = collimated_field(np.asarray(volume.voxels[0], np.float32))
        sample = volume.voxels[:1, top:bottom:4, left:right:4]
    low, high = (float(v) for v in np.percentile(sample, (1, 99.5)))
    return Window((low + high) / 2, max(high - low, 1.0))


def draw_key_slice(
    volume: Volume,
    key_frame: KeyFrame,
    *,
    label_maps: Sequence[LabelMap] = (),
    window: Tone | None = None,
    lines: Sequence[Line] = (),
) -> bytes:
    """Return the PNG of one frame, a millimetre as long across as down, without any patient data."""
    size = _size_px(volume)
    picture, shown = overlaid(volume, key_frame.frame, label_maps, window or default_window(volume), size=size)
    draw_lines(picture, volume, [line for line in lines if line.frame == key_frame.frame])
    return _png(_framed(picture, volume, key_frame, shown))


def overlaid(
    volume: Volume, frame: int, label_maps: Sequence[LabelMap], window: Tone, *, size: tuple[int, int]
) -> tuple[Image.Image, list[Segment]]:
    """Return a frame in a window with the labels over it, so many pixels across and down, and the segments seen."""
    picture = _greyscale(volume, frame, window).resize(size, Image.Resampling.BICUBIC)
    canvas = np.asarray(picture.convert("RGB"), dtype=np.float32)
    shown: list[Segment] = []
    for label_map in label_maps:
        labels = Image.fromarray(label_map.labels[frame]).resize(size, Image.Resampling.NEAREST)
        shown += _paint(canvas, np.asarray(labels), label_map.segments)
    return Image.fromarray(canvas.astype(np.uint8)), shown


def draw_lines(picture: Image.Image, volume: Volume, lines: Sequence[Line]) -> None:
    """Draw measured distances over a picture of one whole frame, of any size, with their ends and their words."""
    _, rows, columns = volume.voxels.shape
    across, down = picture.width / columns, picture.height / rows
    thick = max(2, picture.height // 350)
    font = _font(max(12, picture.height // 45))
    draw = ImageDraw.Draw(picture)
    for line in lines:
        start, end = (((c + 0.5) * across, (r + 0.5) * down) for r, c in (line.start, line.end))
        draw.line((*start, *end), fill=line.colour, width=thick)
        for x, y in (start, end):
            draw.ellipse((x - 2 * thick, y - 2 * thick, x + 2 * thick, y + 2 * thick), fill=line.colour)
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 - 2 * thick)
        draw.text(
            middle, line.text, font=font, fill=line.colour, anchor="mb", stroke_width=thick, stroke_fill=(0, 0, 0)
        )


def orientation_letters(direction: Sequence[float]) -> str:
    """Return the patient directions that a unit vector points to, the strongest first (PS3.3 C.7.6.1.1.1)."""
    letters = [(abs(c), pair[c > 0]) for c, pair in zip(direction, ("RL", "AP", "FH"), strict=True)]
    return "".join(letter for size, letter in sorted(letters, reverse=True) if size > _OBLIQUE)


def _first_number(value: object) -> float | None:
    if isinstance(value, (list, tuple)) and value:
        value = value[0]
    return float(value) if isinstance(value, (int, float)) else None


def _size_px(volume: Volume) -> tuple[int, int]:
    _, rows, columns = volume.voxels.shape
    _, row_mm, column_mm = volume.geometry.spacing_mm
    height_mm, width_mm = rows * row_mm, columns * column_mm
    scale = _LONG_SIDE_PX / max(height_mm, width_mm)
    return max(64, round(width_mm * scale)), max(64, round(height_mm * scale))


def _greyscale(volume: Volume, frame: int, window: Tone) -> Image.Image:
    grey = (window.shown(volume.voxels[frame]) * 255).astype(np.uint8)
    return Image.fromarray(255 - grey if _is_inverted(volume) else grey)


def _is_inverted(volume: Volume) -> bool:
    if volume.projection is not None:
        return volume.projection.inverted
    return volume.attributes.get("PhotometricInterpretation") == "MONOCHROME1"


def _paint(canvas: NDArray[np.float32], labels: NDArray[np.uint8], segments: Sequence[Segment]) -> list[Segment]:
    shown = []
    for segment in segments:
        mask = labels == segment.number
        if not mask.any():
            continue
        shown.append(segment)
        colour = np.array(segment.colour, dtype=np.float32)
        canvas[mask] = canvas[mask] * (1 - _FILL_OPACITY) + colour * _FILL_OPACITY
        canvas[_contour(mask)] = colour
    return shown


def _contour(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    inside = np.pad(mask, 1)
    inner = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    return mask & ~inner


def _framed(picture: Image.Image, volume: Volume, key_frame: KeyFrame, shown: Sequence[Segment]) -> Image.Image:
    width, height = picture.size
    footer_px = _LINE_PX * (len(shown) + 1) + _MARGIN_PX
    canvas = Image.new("RGB", (max(width, 420), _HEADER_PX + height + footer_px))
    left = (canvas.width - width) // 2
    canvas.paste(picture, (left, _HEADER_PX))
    draw = ImageDraw.Draw(canvas)
    write_fitting(draw, (_MARGIN_PX, 4), key_frame.title, 18, _WHITE)
    write_fitting(draw, (_MARGIN_PX, 27), _where(volume, key_frame.frame), 14, _GREY)
    _write_orientation(draw, volume, (left, _HEADER_PX, left + width, _HEADER_PX + height))
    y = _HEADER_PX + height + _MARGIN_PX // 2
    for segment in shown:
        draw.rectangle((_MARGIN_PX, y + 3, _MARGIN_PX + 14, y + 17), fill=segment.colour)
        write_fitting(draw, (_MARGIN_PX + 22, y), segment.name, 15, _WHITE)
        y += _LINE_PX
    write_fitting(draw, (_MARGIN_PX, y), RESEARCH_USE_ONLY, 15, _YELLOW)
    return canvas


def _where(volume: Volume, frame: int) -> str:
    of_all = f"image {frame + 1} of {len(volume.frames)}"
    if volume.modality in PROJECTION_MODALITIES:
        return of_all
    position = volume.frames[frame].image_position_patient
    axis = int(np.argmax(np.abs(volume.geometry.direction[:, 0])))
    return f"{of_all}, {'xyz'[axis]} = {position[axis]:.1f} mm"


def _write_orientation(draw: ImageDraw.ImageDraw, volume: Volume, box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = box
    places = (
        ((left + 8, (top + bottom) // 2), "lm"),
        ((right - 8, (top + bottom) // 2), "rm"),
        (((left + right) // 2, top + 6), "mt"),
        (((left + right) // 2, bottom - 6), "mb"),
    )
    for letters, (place, anchor) in zip(_edges(volume), places, strict=False):
        draw.text(place, letters, font=_font(20), fill=_YELLOW, anchor=anchor, stroke_width=2, stroke_fill=(0, 0, 0))


def _edges(volume: Volume) -> Sequence[str]:
    """Return the patient's directions at the left, right, upper and lower edge; none where nobody said them."""
    if volume.projection is not None:
        if volume.projection.towards is None:
            return ()
        across, down = volume.projection.towards
        return opposite(across), across, opposite(down), down
    along = [volume.geometry.direction[:, axis] for axis in (2, 1)]
    return [orientation_letters([float(c) for c in sign * vector]) for vector in along for sign in (-1, 1)]


def write_fitting(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, size_px: int, colour: tuple[int, int, int]
) -> None:
    """Write one line, smaller where it would not fit into the picture's width."""
    room_px = draw.im.size[0] - place[0] - _MARGIN_PX
    while size_px > 9 and draw.textlength(text, font=_font(size_px)) > room_px:
        size_px -= 1
    draw.text(place, text, font=_font(size_px), fill=colour)


def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    path = FONT_FOLDER / "truetype/dejavu/DejaVuSans.ttf"
    return ImageFont.truetype(str(path), size_px) if path.is_file() else ImageFont.load_default(size_px)


def _png(image: Image.Image) -> bytes:
    stream = BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
