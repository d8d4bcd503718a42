"""Phantom dermoscopy: pictures of a lesion on skin, drawn from a seed, whose outline is known exactly.

Light falls on skin and is absorbed: pigment, hair and ink each add an optical density per colour channel, and
the picture is ``light * skin * exp(-density)``, with the glints of gel bubbles on top. Absorptions
are triples for red, green and blue.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.special import expit

from .drawing import Array, Mask, Size, grid, layer, noise

Colour = tuple[float, float, float]

SIZES: tuple[Size, ...] = ((180, 240), (192, 256), (240, 320), (260, 200))
"""Sizes, (height, width) in pixels, that :func:`write_phantoms` takes in turn."""

_SKINS = ((240, 186, 172), (232, 192, 158), (222, 212, 204), (216, 166, 140), (196, 150, 122), (150, 106, 82))
_BROWN, _AMBER, _GREY, _RED = (0.7, 0.95, 1.1), (0.32, 0.8, 1.2), (1.05, 1.0, 0.85), (0.18, 0.75, 0.6)
_HAIRS = ((1.5, 1.7, 1.9), (0.9, 1.2, 1.6))
_INKS = ((0.8, 1.35, 0.3), (1.05, 1.25, 0.35), (1.3, 0.8, 0.25))
_JPEG_QUALITY = 92


def phantom(seed: int, size: Size) -> tuple[NDArray[np.uint8], Mask]:
    """Draw one phantom; the same seed and size give the same picture.

    Args:
        seed: any number from 0 up.
        size: (height, width) in pixels.

    Returns:
        The image, (H, W, 3) uint8 0..255, and the mask of the lesion, (H, W) uint8 0/1.
    """
    rng = np.random.default_rng(seed)
    depth = _depth(rng, size)
    density = _pigment(rng, depth) + _ink(rng, depth) + _hair(rng, size)
    image = _skin(rng, size) * np.exp(-density)
    image = _bubbles(rng, image) * _light(rng, size)[..., None]
    image += rng.normal(0, rng.uniform(0.004, 0.012), image.shape)
    return (255 * image.clip(0, 1)).round().astype(np.uint8), (depth > 0).astype(np.uint8)


def write_phantoms(out: Path, count: int, seed: int = 0) -> Path:
    """Write phantoms as a ``paired`` layout; the same arguments give the same bytes.

    Args:
        out: the folder, made if missing, that gets ``images/phantom_0001.jpg`` and ``masks/phantom_0001.png``
            (0/255) and so on; other files in it stay as they are.
        count: how many to write.
        seed: from 0 up; each seed gives a set of its own.

    Returns:
        ``out``.
    """
    images, masks = out / "images", out / "masks"
    for folder in (images, masks):
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, count + 1):
        image, mask = phantom(seed * 1_000_000 + number, SIZES[number % len(SIZES)])
        Image.fromarray(image).save(images / f"phantom_{number:04d}.jpg", quality=_JPEG_QUALITY)
        Image.fromarray(mask * 255).save(masks / f"phantom_{number:04d}.png")
    return out


def _mix(rng: np.random.Generator, one: Colour, other: Colour) -> Array:
    """A colour anywhere between two, (3,)."""
    share = rng.random()
    return (share * np.array(one) + (1 - share) * np.array(other)).astype(np.float32)


def _skin(rng: np.random.Generator, size: Size) -> Array:
    """Skin, (H, W, 3) in 0..1: a tone, blotches of it, and fine grain."""
    tone = np.array(_SKINS[rng.integers(len(_SKINS))]) / 255 * rng.uniform(0.96, 1.03, 3)
    blotches = 0.07 * noise(rng, size, 3) + 0.035 * noise(rng, size, 14) + 0.03 * noise(rng, size, 60)
    flush = 0.06 * noise(rng, size, 4)[..., None] * np.array(_RED, np.float32)
    return np.asarray(tone * np.exp(blotches[..., None] - flush), np.float32)


def _depth(rng: np.random.Generator, size: Size) -> Array:
    """How far inside the lesion's border each pixel lies, (H, W), in half shorter sides; < 0 outside."""
    y, x = grid(size)
    y = y - rng.uniform(-0.2, 0.2) + 0.05 * noise(rng, size, 7)
    x = x - rng.uniform(-0.2, 0.2) * size[1] / min(size) + 0.05 * noise(rng, size, 7)
    angle = np.arctan2(y, x)
    stretch, tilt, radius = rng.uniform(0.0, 0.25), rng.uniform(0, np.pi), rng.uniform(0.24, 0.75)
    border = 1 + stretch * np.cos(2 * (angle - tilt))
    roughness = rng.uniform(0.02, 0.16)
    for wave in range(3, 10):
        height = 1.8 * roughness * rng.normal() / wave**1.4
        border += height * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    return np.asarray(radius * border.clip(0.45) - np.hypot(x, y), np.float32)


def _pigment(rng: np.random.Generator, depth: Array) -> Array:
    """Optical density of the lesion, (H, W, 3): soft border, mottled, a network, at times two-tone."""
    size = (depth.shape[0], depth.shape[1])
    strength = rng.uniform(0.35, 0.5) if rng.random() < 0.25 else rng.uniform(0.6, 1.35)
    alpha = expit(depth / rng.uniform(0.008, 0.045))
    mottle = 1 + rng.uniform(0.15, 0.5) * noise(rng, size, 6) + rng.uniform(0.1, 0.3) * noise(rng, size, 20)
    mesh = np.exp(-((noise(rng, size, rng.uniform(20, 30)) / 0.16) ** 2))
    mottle += rng.uniform(0, 0.45) * mesh * np.exp(-depth.clip(0) / rng.uniform(0.15, 0.6))
    density = (strength * alpha * mottle.clip(0.35))[..., None] * _mix(rng, _BROWN, _AMBER)
    if rng.random() < 0.45:
        spread = expit(8 * (noise(rng, size, 3) - rng.uniform(-0.1, 0.3)))
        tone = _mix(rng, _GREY, (_BROWN, _RED)[rng.integers(2)])
        density += (rng.uniform(0.4, 0.9) * strength * alpha * spread)[..., None] * tone
    return np.asarray(density, np.float32)


def _hair(rng: np.random.Generator, size: Size) -> Array:
    """Optical density of hairs, (H, W, 3): thin curves, mostly one way, none in a third of the pictures."""
    count = 0 if rng.random() < 0.35 else int(rng.integers(2, 16))
    lie, half, t = rng.uniform(0, np.pi), min(size) / 2, np.linspace(0, 1, 16)[:, None]
    lines = []
    for _ in range(count):
        middle = rng.uniform(0, 1, 2) * size[::-1]
        way = lie + rng.normal(0, 0.35)
        reach = rng.uniform(0.4, 1.6) * half * np.array((np.cos(way), np.sin(way)))
        bend = middle + rng.normal(0, 0.45 * half, 2)
        curve = (1 - t) ** 2 * (middle - reach) + 2 * t * (1 - t) * bend + t**2 * (middle + reach)
        lines.append((curve, rng.uniform(0.006, 0.018) * half))
    tone = np.array(_HAIRS[rng.integers(len(_HAIRS))], np.float32)
    return np.asarray(rng.uniform(0.6, 1.0) * layer(size, lines)[..., None] * tone, np.float32)


def _ink(rng: np.random.Generator, depth: Array) -> Array:
    """Optical density of pen marks beside the lesion, (H, W, 3): strokes and dots, in a third of pictures."""
    size, lines = (depth.shape[0], depth.shape[1]), []
    half = min(size) / 2
    for _ in range(int(rng.integers(1, 4)) if rng.random() < 0.35 else 0):
        start = rng.uniform(0, 1, 2) * size[::-1]
        length = rng.uniform(0.02, 0.06) if rng.random() < 0.3 else rng.uniform(0.3, 0.8)
        turn = rng.uniform(0, 2 * np.pi) + np.linspace(0, rng.normal(0, 0.8), 12)
        steps = np.stack((np.cos(turn), np.sin(turn)), 1) * length * half / 12
        lines.append((start + steps.cumsum(0), rng.uniform(0.05, 0.11) * half))
    paint = layer(size, lines, 0.012 * half) * (1 + 0.5 * noise(rng, size, 25))
    beside = ((-depth - 0.06) / 0.05).clip(0, 1)
    tone = np.array(_INKS[rng.integers(len(_INKS))], np.float32)
    return np.asarray(rng.uniform(0.6, 1.1) * (paint * beside)[..., None] * tone, np.float32)


def _bubbles(rng: np.random.Generator, image: Array) -> Array:
    """The image with gel bubbles, bright rings with a glint, in a quarter of the pictures."""
    y, x = grid((image.shape[0], image.shape[1]))
    for _ in range(int(rng.integers(2, 9)) if rng.random() < 0.25 else 0):
        radius = rng.uniform(0.02, 0.09)
        dy, dx = y - rng.uniform(-1, 1), x - rng.uniform(-1.2, 1.2)
        ring = np.exp(-(((np.hypot(dy, dx) - radius) / 0.012) ** 2))
        glint = np.exp(-(np.hypot(dy + radius * 0.45, dx + radius * 0.45) ** 2) / (0.25 * radius) ** 2)
        image = image + (0.16 * ring + 0.5 * glint)[..., None] * (1 - image)
    return image


def _light(rng: np.random.Generator, size: Size) -> Array:
    """Light, (H, W) in 0..1: brightest in the middle, at times with the dark rim of the tube."""
    y, x = grid(size)
    away = np.hypot(y - rng.uniform(-0.1, 0.1), x - rng.uniform(-0.1, 0.1))
    light = 1 - rng.uniform(0.04, 0.16) * away**2
    if rng.random() < 0.4:
        rim = np.hypot(*size) / min(size) * rng.uniform(0.78, 0.98)
        light = light * (0.04 + 0.96 * expit((rim - away) / rng.uniform(0.012, 0.05)))
    return np.asarray(light, np.float32)
