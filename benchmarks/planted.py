"""Changes that make another file of the same picture, for ``audit.py``. What is random depends on the image alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Pixels = NDArray[np.uint8]
Change = Callable[[Pixels], Pixels]


def seeded(pixels: Pixels) -> np.random.Generator:
    return np.random.default_rng(int(pixels.sum()))


def jpeg(quality: int) -> Change:
    def change(pixels: Pixels) -> Pixels:
        buffer = BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer))

    return change


def turned(degrees: float) -> Change:
    """About the centre; corners become black."""
    return lambda pixels: np.asarray(
        Image.fromarray(np.ascontiguousarray(pixels)).rotate(degrees, Image.Resampling.BICUBIC)
    )


def cut(share: float) -> Change:
    """A share of each side taken away at both ends."""
    return lambda pixels: pixels[tuple(slice(round(share * n), n - round(share * n)) for n in pixels.shape[:2])]


def cut_somewhere(share: float) -> Change:
    """A share of each side taken away in all, at a place that depends on the image."""

    def change(pixels: Pixels) -> Pixels:
        height, width = pixels.shape[:2]
        rows, columns = round(share * height), round(share * width)
        top, left = seeded(pixels).integers((rows + 1, columns + 1))
        return pixels[top : height - rows + top, left : width - columns + left]

    return change


def shrunk(share: float) -> Change:
    """Made smaller, in a black frame of the old size."""

    def change(pixels: Pixels) -> Pixels:
        height, width = pixels.shape[:2]
        small = Image.fromarray(pixels).resize((round(width * share), round(height * share)), Image.Resampling.BOX)
        canvas = Image.new("RGB", (width, height))
        canvas.paste(small, ((width - small.width) // 2, (height - small.height) // 2))
        return np.asarray(canvas)

    return change


def shifted(share: float) -> Change:
    """Down and to the right; what comes in is black."""

    def change(pixels: Pixels) -> Pixels:
        rows, columns = (round(share * n) for n in pixels.shape[:2])
        moved = np.zeros_like(pixels)
        moved[rows:, columns:] = pixels[:-rows, :-columns]
        return moved

    return change


def stretched(pixels: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((round(1.1 * pixels.shape[1]), pixels.shape[0])))


def brighter(gain: float) -> Change:
    return lambda pixels: np.clip(pixels * gain, 0, 255).astype(np.uint8)


def near_white_brighter(pixels: Pixels) -> Pixels:
    """Greys of 155 to 255, then 10 % brighter: what was above 232 is white."""
    return np.clip((155 + pixels * (100 / 255)) * 1.1, 0, 255).astype(np.uint8)


def gamma(power: float) -> Change:
    return lambda pixels: (255 * (pixels / 255) ** power).astype(np.uint8)


def mixed(pixels: Pixels) -> Pixels:
    """Another colour for each colour."""
    mix = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.3, 0.3, 0.4]])
    return np.clip(0.9 * pixels @ mix.T + 20, 0, 255).astype(np.uint8)


def vignette(pixels: Pixels) -> Pixels:
    """Darker to the corners, which are black."""
    axes = [np.linspace(-1, 1, n) for n in pixels.shape[:2]]
    away = np.hypot(axes[0][:, None], axes[1])
    return (pixels * (np.clip(1.1 - 0.35 * away**2, 0, 1) * (away < 1.08))[..., None]).astype(np.uint8)


def blurred(pixels: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(min(pixels.shape[:2]) / 200)))


def texts(pixels: Pixels) -> Pixels:
    """Four lines of yellow text, four white crosses."""
    image, random = Image.fromarray(pixels), seeded(pixels)
    draw, (height, width) = ImageDraw.Draw(image), pixels.shape[:2]
    for _ in range(4):
        x, y = random.random(2) * (0.7 * width, 0.9 * height)
        draw.text((x, y), "D 12.4 mm  MAMA ESQ", fill=(255, 255, 0), font_size=max(height // 18, 8))
        x, y = random.random(2) * (width, height)
        arm = width / 50
        draw.line((x - arm, y, x + arm, y), fill=(255, 255, 255), width=2)
        draw.line((x, y - arm, x, y + arm), fill=(255, 255, 255), width=2)
    return np.asarray(image)


def ruler(pixels: Pixels) -> Pixels:
    """A white band over 18 % of the height, with marks."""
    image, (height, width) = Image.fromarray(pixels), pixels.shape[:2]
    draw, broad = ImageDraw.Draw(image), int(0.18 * height)
    top = int(height * (0.15 + 0.5 * seeded(pixels).random()))
    draw.rectangle((0, top, width, top + broad), fill=(240, 240, 235))
    for number, x in enumerate(range(0, width, max(width // 40, 3))):
        end = top + broad * (0.3 if number % 5 else 0.5)
        draw.line((x, top, x, end), fill=(30, 30, 30), width=max(1, width // 250))
    return np.asarray(image)


def hairs(pixels: Pixels) -> Pixels:
    """25 dark hairs, each as long as most of a side."""
    image, random = Image.fromarray(pixels), seeded(pixels)
    draw, (height, width) = ImageDraw.Draw(image), pixels.shape[:2]
    for _ in range(25):
        start, angle = random.random(2) * (width, height), random.random() * 2 * np.pi
        angles = angle + np.cumsum(random.normal(scale=0.12, size=30))
        steps = np.stack([np.cos(angles) * width, np.sin(angles) * height], axis=1) / 35
        points = start + np.cumsum(steps, axis=0)
        draw.line([tuple(point) for point in points.tolist()], fill=(25, 20, 15), width=max(1, width // 120))
    return np.asarray(image)


def one_by_one(*changes: Change) -> Change:
    return lambda pixels: reduce(lambda changed, change: np.ascontiguousarray(change(changed)), changes, pixels)


CHANGES: dict[str, Change] = {
    "mirrored left to right": lambda pixels: pixels[:, ::-1],
    "mirrored top to bottom": lambda pixels: pixels[::-1],
    "turned by 90 degrees": lambda pixels: pixels.swapaxes(0, 1)[:, ::-1],
    "turned by 2 degrees": turned(2),
    "turned by 5 degrees": turned(5),
    "turned by 15 degrees": turned(15),
    "turned by 30 degrees": turned(30),
    "turned by 95 degrees": turned(95),
    "mirrored and turned by 15 degrees": one_by_one(lambda pixels: pixels[:, ::-1], turned(15)),
    "cropped by 5 % in all": cut_somewhere(0.05),
    "5 % cut off all round": cut(0.05),
    "cropped by 20 % in all": cut_somewhere(0.2),
    "10 % cut off all round": cut(0.1),
    "15 % cut off all round": cut(0.15),
    "shrunk to 70 % in a black frame": shrunk(0.7),
    "stretched by 10 %": stretched,
    "shifted by 10 %": shifted(0.1),
    "brightness + 10 %": brighter(1.1),
    "brightness - 10 %": brighter(0.9),
    "brightness + 30 %": brighter(1.3),
    "near white, brightness + 10 %": near_white_brighter,
    "gamma 0.6": gamma(0.6),
    "gamma 1.6": gamma(1.6),
    "colours mixed": mixed,
    "vignette, black corners": vignette,
    "blurred": blurred,
    "JPEG quality 60": jpeg(60),
    "JPEG quality 30": jpeg(30),
    "text and callipers": texts,
    "broad white ruler": ruler,
    "hairs": hairs,
    "turned by 5 degrees, 5 % cut off, + 15 %": one_by_one(turned(5), cut(0.05), brighter(1.15)),
    "mirrored, by 30 degrees, 10 % cut off, - 20 %": one_by_one(
        lambda pixels: pixels[:, ::-1], turned(30), cut(0.1), brighter(0.8)
    ),
}
