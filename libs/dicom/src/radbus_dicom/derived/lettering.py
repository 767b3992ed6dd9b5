"""Put any script on paper: fonts by coverage, and right-to-left text in the order in which it is drawn."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape

import reportlab
from reportlab.pdfbase.pdfmetrics import registerFont
from reportlab.pdfbase.ttfonts import TTFError, TTFont

# In this order, the first that has a character draws it; any may be absent. The Debian packages are fonts-dejavu-core
# (Latin, Greek, Cyrillic, Hebrew, Arabic) and fonts-wqy-microhei (Chinese, Japanese, Korean).
_REGULAR = (
    "truetype/dejavu/DejaVuSans.ttf",
    "truetype/wqy/wqy-microhei.ttc",
    "truetype/droid/DroidSansFallbackFull.ttf",
    "truetype/noto/NotoSansThai-Regular.ttf",
    "truetype/noto/NotoSansDevanagari-Regular.ttf",
)
_BOLD = "truetype/dejavu/DejaVuSans-Bold.ttf"
FONT_FOLDER = Path("/usr/share/fonts")
REPLACEMENT = "?"
_RIGHT_TO_LEFT = frozenset({"R", "AL"})
_NEUTRAL = frozenset({"WS", "NSM", "ON", "CS"})
_ARABIC_FORMS = range(0xFE70, 0xFEFD)


@dataclass(frozen=True, slots=True)
class Lettering:
    """The fonts found, in the order in which they are asked for a character."""

    regular: tuple[TTFont, ...]
    bold: tuple[TTFont, ...]

    def markup(self, text: str, *, bold: bool = False) -> str:
        """Return `text` as reportlab markup: escaped, in drawing order, each run in a font that has its characters."""
        fonts = self.bold if bold else self.regular
        chosen = [_font_for(char, fonts) for char in drawing_order(text)]
        runs = groupby(chosen, key=lambda pair: pair[1])
        return "".join(f'<font name="{name}">{escape("".join(char for char, _ in run))}</font>' for name, run in runs)


@lru_cache(maxsize=4)
def find_lettering(folder: Path = FONT_FOLDER) -> Lettering:
    """Return the fonts below `folder`; reportlab's own, which have Latin only, always close the list."""
    own = Path(reportlab.__file__).parent / "fonts"
    regular = _registered([*(folder / name for name in _REGULAR), own / "Vera.ttf"])
    bold = _registered([folder / _BOLD, own / "VeraBd.ttf"])
    return Lettering(regular, (*bold, *regular))


def drawing_order(text: str) -> str:
    """Return `text` in the order in which it is drawn from left to right, with Arabic letters joined.

    A name or a line, not a paragraph: runs of right-to-left characters are reversed, embedded digits are not reordered.
    """
    if not any(unicodedata.bidirectional(char) in _RIGHT_TO_LEFT for char in text):
        return text
    drawn: list[str] = []
    run: list[str] = []
    for char in _joined(text):
        kind = unicodedata.bidirectional(char)
        if kind in _RIGHT_TO_LEFT or (run and kind in _NEUTRAL):
            run.append(char)
        else:
            drawn.extend(_reversed_run(run))
            run = []
            drawn.append(char)
    drawn.extend(_reversed_run(run))
    return "".join(drawn)


def _reversed_run(run: list[str]) -> list[str]:
    end = len(run)
    while end and unicodedata.bidirectional(run[end - 1]) not in _RIGHT_TO_LEFT:
        end -= 1
    return run[:end][::-1] + run[end:]


def _joined(text: str) -> str:
    """Replace Arabic letters by their presentation forms (Unicode 9.2): what a shaper would do for plain text."""
    forms = _arabic_forms()
    letters = list(text)
    for i, char in enumerate(text):
        of_char = forms.get(char)
        if of_char is None:
            continue
        before = i > 0 and "<initial>" in forms.get(text[i - 1], {})
        after = "<initial>" in of_char and i + 1 < len(text) and "<final>" in forms.get(text[i + 1], {})
        shape = {(True, True): "<medial>", (True, False): "<final>", (False, True): "<initial>"}.get((before, after))
        letters[i] = of_char.get(shape or "<isolated>", char)
    return "".join(letters)


@lru_cache(maxsize=1)
def _arabic_forms() -> dict[str, dict[str, str]]:
    forms: dict[str, dict[str, str]] = {}
    for code in _ARABIC_FORMS:
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2:
            forms.setdefault(chr(int(parts[1], 16)), {})[parts[0]] = chr(code)
    return forms


def _registered(paths: Iterable[Path]) -> tuple[TTFont, ...]:
    fonts: list[TTFont] = []
    for path in paths:
        if not path.is_file():
            continue
        try:
            font = TTFont(f"radbus-{path.stem}", str(path))
        except TTFError:  # an outline format that reportlab cannot embed
            continue
        registerFont(font)
        fonts.append(font)
    return tuple(fonts)


def _font_for(char: str, fonts: Sequence[TTFont]) -> tuple[str, str]:
    for font in fonts:
        if ord(char) in font.face.charToGlyph:
            return char, font.fontName
    return REPLACEMENT, fonts[0].fontName
