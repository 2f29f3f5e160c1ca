"""Pictures of real digits as users send them: on paper, on a screen, on a transparent canvas.

Each kind takes a digit, an image uint8 (28, 28) of MNIST, and a random generator, and returns an
encoded picture. They are drawn with NumPy and Pillow, independently of the code under test.
"""

import io
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Kind: TypeAlias = Callable[[NDArray[np.uint8], np.random.Generator], bytes]
Floats: TypeAlias = NDArray[np.floating[Any]]

WHITE_PAPER: Final = (236, 234, 228)
BLUE_PEN: Final = (38, 58, 150)
BLACK_PEN: Final = (35, 34, 38)
PENCIL: Final = (120, 120, 124)

# How far a corner moves, relative to the shorter side, when a sheet is photographed at an angle.
TILT: Final = 0.06


def encode(pixels: NDArray[Any] | Image.Image, format: str = "PNG", **options: Any) -> bytes:
    """Encode an image: uint8 (h, w) grey, (h, w, 3) RGB or (h, w, 4) RGBA, or one of Pillow."""
    file = io.BytesIO()
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture.save(file, format, **options)
    return file.getvalue()


def stroke(image: NDArray[np.uint8], side: int) -> Floats:
    """Crop a digit and scale it to a longer side of ``side``; return its ink, 0 to 1."""
    rows, columns = np.nonzero(image.max(1) > 60)[0], np.nonzero(image.max(0) > 60)[0]
    image = np.pad(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 2)
    scale = side / (max(image.shape) - 4)
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    smooth = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)) / 255
    # Ink has sharp edges: the ramp due to enlarging is narrowed to a quarter.
    ink = np.clip((smooth - 0.5) * max(1.0, scale / 4) + 0.5, 0, 1) if scale > 1 else smooth
    return np.asarray(ink)


def thin_stroke(image: NDArray[np.uint8], side: int) -> Floats:
    """Draw the centre line of a digit with a fine pen, a thirtieth of the longer side wide."""
    line = skeleton(stroke(image, 120) > 0.5)
    pen = Image.fromarray((line * 255).astype(np.uint8)).filter(ImageFilter.MaxFilter(3))
    pen = pen.filter(ImageFilter.GaussianBlur(1))
    size = (round(pen.width * side / 120), round(pen.height * side / 120))
    enlarged = np.asarray(pen.resize(size, Image.Resampling.BICUBIC)) / 255
    return np.asarray(np.clip((enlarged - 0.3) * 4, 0, 1))


def skeleton(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Thin a mask to its centre lines, one pixel wide (Zhang and Suen, 1984)."""
    mask = np.pad(mask, 1)
    while True:
        before = mask.sum()
        for first in (True, False):
            ring = [np.roll(mask, shift, (0, 1)) for shift in _RING]  # north, then clockwise
            n, e, s, w = ring[0], ring[2], ring[4], ring[6]
            neighbours = np.sum(ring, axis=0)
            changes = np.sum([~a & b for a, b in zip(ring, [*ring[1:], n], strict=True)], axis=0)
            sides = ~(n & e & s) & ~(e & s & w) if first else ~(n & e & w) & ~(n & s & w)
            mask = mask & ~((neighbours >= 2) & (neighbours <= 6) & (changes == 1) & sides)
        if mask.sum() == before:
            return mask[1:-1, 1:-1]


_RING = [(1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1)]


def place(ink: Floats, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Place ink at random on an empty sheet, away from the margins that a tilt may cut off."""
    sheet = np.zeros(shape)
    margin = int(TILT * min(shape))
    top, left = (
        margin + rng.integers(0, max(1, sheet.shape[axis] - ink.shape[axis] - 2 * margin))
        for axis in (0, 1)
    )
    sheet[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return sheet


def sheet_of(image: NDArray[np.uint8], rng: np.random.Generator, *, pen: Any = stroke) -> Floats:
    """Draw a digit, a third to seven tenths as tall as its sheet of 200 to 360 pixels."""
    shape = (int(rng.integers(200, 360)), int(rng.integers(200, 360)))
    return place(pen(image, int(min(shape) * rng.uniform(0.33, 0.7))), shape, rng)


def light(shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Light a scene with a lamp, a vignette and a soft shadow: 0.3 to 1 of full light."""
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    lamp = 1 - rng.uniform(0.1, 0.3) * (1 + np.cos(angle) * x + np.sin(angle) * y) / 2
    vignette = 1 - rng.uniform(0.05, 0.25) * (x**2 + y**2) / 2
    angle, reach, soft = rng.uniform(0, 2 * np.pi), rng.uniform(-0.3, 0.8), rng.uniform(0.05, 0.3)
    across = np.cos(angle) * x + np.sin(angle) * y + 0.2 * np.sin(3 * (x * y + reach))
    shadow = 1 - rng.uniform(0.15, 0.5) / (1 + np.exp(-(across - reach) / soft))
    return np.asarray(lamp * vignette * shadow)


def photograph(
    sheet: Floats,
    rng: np.random.Generator,
    *,
    ink: tuple[int, int, int] = BLUE_PEN,
    paper: tuple[int, int, int] = WHITE_PAPER,
) -> NDArray[np.uint8]:
    """Photograph a sheet with a phone: tilted, blurred, unevenly lit, with grain. RGB."""
    density = 0.85 + 0.15 * rough(sheet.shape, rng, 3)  # pens cover unevenly
    cover = (sheet * density)[..., None]
    scene = np.array(paper) * (1 - cover) + np.array(ink) * cover
    scene += 3 * rough(sheet.shape, rng, 2)[..., None]  # the paper's fibres
    scene = scene * light(sheet.shape, rng)[..., None]
    photo = tilt(Image.fromarray(np.clip(scene, 0, 255).astype(np.uint8)), rng)
    photo = photo.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2)))
    grain = rng.uniform(2, 6) * rng.standard_normal((*sheet.shape, 1), np.float32)
    grain = grain + 2 * rng.standard_normal(scene.shape, np.float32)
    return np.asarray(np.clip(np.asarray(photo) + grain, 0, 255).astype(np.uint8))


def rough(shape: tuple[int, int], rng: np.random.Generator, grain: float) -> Floats:
    """Return smooth noise of unit deviation, with grains about ``grain`` pixels wide."""
    height, width = shape
    coarse = rng.normal(size=(int(height / grain) + 2, int(width / grain) + 2))
    noise = Image.fromarray(coarse.astype(np.float32))
    smooth = np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC))
    return np.asarray(smooth / smooth.std())


def tilt(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Tilt a photograph: each corner moves by up to ``TILT``."""
    w, h = photo.size
    seen = np.array([(0, 0), (w, 0), (w, h), (0, h)], dtype=float)
    # Corners move inwards, so that nothing beside the sheet is seen.
    inward = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])
    there = seen + inward * rng.uniform(0, TILT, (4, 2)) * min(w, h)
    rows = []
    for (x, y), (u, v) in zip(seen, there, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    mapping = np.linalg.solve(np.array(rows), there.ravel())
    return photo.transform(
        photo.size, Image.Transform.PERSPECTIVE, mapping.tolist(), Image.Resampling.BICUBIC
    )


def jpeg(pixels: NDArray[np.uint8], rng: np.random.Generator) -> bytes:
    return encode(pixels, "JPEG", quality=int(rng.integers(50, 91)))


def blue_pen(image: NDArray[np.uint8], rng: np.random.Generator) -> bytes:
    return jpeg(photograph(sheet_of(image, rng), rng), rng)


def pencil(image: NDArray[np.uint8], rng: np.random.Generator) -> bytes:
    return jpeg(photograph(sheet_of(image, rng), rng, ink=PENCIL), rng)


def fine_pen(image: NDArray[np.uint8], rng: np.random.Generator) -> bytes:
    return jpeg(photograph(sheet_of(image, rng, pen=thin_stroke), rng, ink=BLACK_PEN), rng)


def small_on_sheet(image: NDArray[np.uint8], rng: np.random.Generator) -> bytes:
    """A digit a fifteenth to a sixth as tall as the sheet."""
    sheet = place(stroke(image, int(rng.integers(30, 75))), (440, 440), rng)
    return jpeg(photograph(sheet, rng, ink=BLACK_PEN), rng)


def dark_screen(image: NDArray[np.uint8], rng: np.random.Generator) -> bytes:
    """A photograph of a dark screen with uneven backlight and a reflection."""
    sheet = sheet_of(image, rng)
    level = rng.uniform(15, 60)
    glow = level * (0.6 + 0.8 * light(sheet.shape, rng)) + 12 * rough(sheet.shape, rng, 90)
    scene = glow * (1 - sheet) + rng.uniform(170, 240) * sheet
    photo = tilt(Image.fromarray(np.clip(scene, 0, 255).astype(np.uint8)), rng)
    photo = photo.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.5)))
    noisy = np.asarray(photo) + rng.normal(0, rng.uniform(2, 6), sheet.shape)
    return jpeg(np.clip(noisy, 0, 255).astype(np.uint8), rng)


def on_transparent(sheet: Floats, tone: int) -> bytes:
    colour = np.full((*sheet.shape, 3), tone)
    return encode(np.dstack([colour, sheet * 255]).round().astype(np.uint8))


def black_on_transparent(image: NDArray[np.uint8], rng: np.random.Generator) -> bytes:
    return on_transparent(sheet_of(image, rng), 0)


def white_on_transparent(image: NDArray[np.uint8], rng: np.random.Generator) -> bytes:
    return on_transparent(sheet_of(image, rng), 255)


def any_size(image: NDArray[np.uint8], rng: np.random.Generator) -> bytes:
    """Black on white from a drawing program, 40 to 1,200 pixels, in any format."""
    side = int(40 * 30 ** rng.uniform())
    shape = (side, max(40, int(side * rng.uniform(0.5, 1))))
    ink = stroke(image, int(min(shape) * rng.uniform(0.4, 0.7)))
    pixels = (255 * (1 - place(ink, shape, rng))).round().astype(np.uint8)
    return encode(pixels, str(rng.choice(["PNG", "JPEG", "BMP", "WEBP"])))


def as_small_as_an_image(image: NDArray[np.uint8], rng: np.random.Generator) -> bytes:
    """Draw the digit grey on light paper, off the centre, in the pixels of the image itself."""
    down, right = rng.integers(0, 7, 2)
    moved = np.pad(image, 3)[down : down + 28, right : right + 28]
    return encode((240 - moved * 0.6 + rng.normal(0, 3, moved.shape)).astype(np.uint8))


KINDS: dict[str, Kind] = {
    "blue pen on paper": blue_pen,
    "pencil on paper": pencil,
    "fine pen on paper": fine_pen,
    "small on a large sheet": small_on_sheet,
    "white on a dark screen": dark_screen,
    "black on transparent": black_on_transparent,
    "white on transparent": white_on_transparent,
    "any size and format": any_size,
    "as small as an image": as_small_as_an_image,
}
