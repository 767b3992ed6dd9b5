"""Writes docs/gallery.md and its pictures (`make gallery`): what radbus makes of phantoms, through the whole stack.

Pictures of real patients never go into the repository. Pages are rendered by `pdftoppm` (Debian's poppler-utils).
"""

from __future__ import annotations

import asyncio
import io
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import yaml
from PIL import Image
from radbus_cli.client import Client
from radbus_cli.demo import INSTITUTION
from radbus_cli.sending import NoResultError, send_folder, wait_for
from radbus_cli.target import Target
from radbus_cli.tokens import create_in
from radbus_testing.drawn_chest import drawn_chest
from radbus_testing.head_phantom import LEFT_BLOOD, head_phantom
from radbus_testing.phantom import chest_phantom
from radbus_testing.phantom_anatomy import HILAR_MASS, PLEURAL_LESION
from radbus_testing.phantom_dicom import PhantomHeader, write_phantom
from radbus_testing.radiograph_dicom import radiograph_instance

DOCS = Path(__file__).parent
PICTURES = DOCS / "gallery"
USE_CASES = DOCS.parent / "services" / "router" / "use_cases"
_KEY_SLICES = 4
_KEY_SLICE_PX, _PAGE_PX = 320, 640
_COLOURS = 48
_TIMEOUT_S = 600.0
_DATE = "20260102"


@dataclass(frozen=True, slots=True)
class Shown:
    """What is sent for a use case, in words and as files."""

    words: str
    write: Callable[[Path], object]


def _chest(folder: Path) -> None:
    phantom = chest_phantom(slices=100, rows=320, lesion=(HILAR_MASS, PLEURAL_LESION))
    write_phantom(folder, phantom, PhantomHeader(patient_name="Phantom^Chest", study_date=_DATE))


def _head(folder: Path) -> None:
    phantom = head_phantom(blood=(LEFT_BLOOD,), shift_left_mm=-6.0)
    header = PhantomHeader(
        patient_name="Phantom^Head", body_part="HEAD", study_description="CT head phantom", study_date=_DATE
    )
    write_phantom(folder, phantom, header)  # type: ignore[arg-type]  # it has what a chest phantom has


def _radiograph(folder: Path) -> None:
    (folder / "0.dcm").write_bytes(radiograph_instance(drawn_chest(opaque=True)))


SHOWN: Mapping[str, Shown] = {
    "qct": Shown("a chest with a mass of 40 mm at the right hilum and a lesion of 20 mm at the right pleura", _chest),
    "qer": Shown("a head with 19 mL of fresh blood on the left and the midline pushed 6 mm to the right", _head),
    "qxr": Shown("a drawn chest radiograph with an opacity in the left lower zone", _radiograph),
}
"""What is sent for each use case; a use case that is not here is named on the page, without pictures."""


def main() -> None:
    """Send the phantoms, take the pictures, write the page."""
    target = Target()
    target.stack.up()
    if not target.token_file.exists():
        token = asyncio.run(create_in(target.stack.environment(), institution=INSTITUTION, name="gallery"))
        target.token_file.touch(mode=0o600)
        target.token_file.write_text(token)
    client = Client(target)
    PICTURES.mkdir(exist_ok=True)
    for old in PICTURES.glob("*.png"):
        old.unlink()
    sections = [section for path in sorted(USE_CASES.glob("*.yaml")) for section in _section(client, path)]
    (DOCS / "gallery.md").write_text("\n".join([*_HEAD, *sections]) + "\n")


_HEAD = (
    "# Gallery",
    "",
    "What comes back for a series of each built-in use case: the key slices and the page of the report, here of",
    "phantoms. `make gallery` makes this page and its pictures (smaller than they are, in fewer colours) anew.",
    "**Research use only. Not for diagnosis.** How well the machines measure is in [models.md](models.md).",
    "",
    "The letters at the edges of a key slice are the patient's directions (R right, L left, A front, P back); a",
    "millimetre is as long across as down; the colour of each outline is named below it.",
    "",
)


def _section(client: Client, path: Path) -> Iterator[str]:
    use_case = yaml.safe_load(path.read_text())
    name = str(use_case["use_case"])
    yield f"## {name}: {use_case['title']}"
    yield ""
    shown = SHOWN.get(name)
    if shown is None:
        yield "There is no phantom for this use case here."
        yield ""
        return
    result = _result(client, shown, name)
    yield f"Sent: {shown.words}. Said, in the words of the result:"
    yield ""
    said = result["report"]
    yield f"> {said if isinstance(said, str) else said['impression']}"
    yield ""
    files = result["files"]
    names = []
    for number, url in enumerate(_chosen(files.get("sc_png", []), _KEY_SLICES), start=1):
        names.append(f"{name}-{number}.png")
        _save(Image.open(io.BytesIO(_download(url))), PICTURES / names[-1], _KEY_SLICE_PX)
    yield " ".join(f"![key slice {number} of {name}](gallery/{each})" for number, each in enumerate(names, start=1))
    yield ""
    for url in files.get("pdf", [])[:1]:
        _save(_first_page(_download(url)), PICTURES / f"{name}-report.png", _PAGE_PX)
        yield f"![the report of {name}](gallery/{name}-report.png)"
        yield ""


def _result(client: Client, shown: Shown, name: str) -> Mapping[str, Any]:
    with TemporaryDirectory() as folder:
        shown.write(Path(folder))
        series, _ = send_folder(client, Path(folder), quiet=True)
        (answer,) = wait_for(client, series, timeout_s=_TIMEOUT_S, quiet=True).values()
    if answer["status"] != 200 or answer["body"]["usecase"] != name:
        raise NoResultError(f"expected a result of {name}, got {answer['status']}: {answer['body'].get('message')}")
    result: Mapping[str, Any] = answer["body"]["result"]
    return result


def _chosen(urls: list[str], most: int) -> list[str]:
    """Choose some of many, evenly from the first to the last."""
    if len(urls) <= most:
        return urls
    return [urls[round(i * (len(urls) - 1) / (most - 1))] for i in range(most)]


def _download(url: str) -> bytes:
    return httpx2.get(url, timeout=30).raise_for_status().content


def _first_page(pdf: bytes) -> Image.Image:
    command = ["pdftoppm", "-png", "-r", "90", "-f", "1", "-l", "1", "-"]
    done = subprocess.run(command, input=pdf, capture_output=True, check=True, timeout=60)
    return Image.open(io.BytesIO(done.stdout))


def _save(picture: Image.Image, path: Path, width_px: int) -> None:
    height_px = round(picture.height * width_px / picture.width)
    small = picture.convert("RGB").resize((width_px, height_px), Image.Resampling.LANCZOS)
    small.quantize(_COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
