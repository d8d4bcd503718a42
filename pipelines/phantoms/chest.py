"""Phantom chest X-rays: frontal films of drawn persons, whose lungs, heart and clavicles are known exactly.

A film is drawn as it comes about: each tissue adds the density that a ray meets in it, and the film darkens where
much of the ray is left. So structures overlap as they do in a film: each clavicle lies over the top of a lung, the
heart over the middle of the left one. As usual the patient faces the viewer: the left of the patient is at the right
of the image, where the marker L is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.special import expit

from .drawing import Array, Mask, Size, filled, grid, layer, noise
from .thorax import Place, curve, outlines_of_person, placement

STRUCTURES = ("heart", "left lung", "right lung", "left clavicle", "right clavicle")
CLAVICLES = STRUCTURES[3:]
SIDE = 512
"""Rows and columns of a film."""

_TEXTURE = ((0.06, 4), (0.06, 10), (0.06, 20), (0.05, 40), (0.04, 80))
"""How strong unevenness is, and how many bumps it has along a side."""


def chest_phantom(seed: int, side: int = SIDE, without: Sequence[str] = ()) -> tuple[Mask, dict[str, Mask]]:
    """Draw one film; the same arguments give the same.

    Args:
        seed: any number from 0 up; each is another person.
        side: rows and columns, pixels.
        without: clavicles that the person does not have; all else stays as it is.

    Returns:
        The film, (side, side) uint8 0-255, bone white; and of each of `STRUCTURES` the mask, (side, side) uint8 0/1.
    """
    rng = np.random.default_rng(seed)
    body, place = outlines_of_person(rng), placement(rng, side)
    shapes = {name: filled((side, side), place(outline)) for name, outline in body.items()}
    masks = {name: shapes[name] * np.uint8(name not in without) for name in STRUCTURES}
    density = _soft_tissue(rng, shapes) + _ribs(rng, side, place) + _spine(rng, side, place)
    density += _lungs(rng, side, place, masks) + _heart(rng, masks)
    for name in CLAVICLES:
        density += rng.uniform(0.14, 0.22) * _shell(masks[name])
    return _film(rng, density), masks


def write_chest_phantoms(out: Path, count: int, seed: int = 0, side: int = SIDE) -> Path:
    """Write films as ``images/phantom_0001.png`` and ``masks/heart/phantom_0001.png`` (0/255) and so on.

    Of every ten persons the fifth lacks a clavicle, whose mask is empty; and nobody outlined the clavicles of the
    tenth, which have no file.

    Args:
        out: the folder, made if missing; other files in it stay as they are.
        count: how many to write.
        seed: from 0 up; each seed gives a set of its own.
        side: rows and columns, pixels.

    Returns:
        ``out``.
    """
    for folder in ("images", *(f"masks/{name}" for name in STRUCTURES)):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for number in range(1, count + 1):
        lacks = [CLAVICLES[number // 10 % 2]] if number % 10 == 5 else []
        image, masks = chest_phantom(seed * 1_000_000 + number, side, lacks)
        Image.fromarray(image).save(out / "images" / f"phantom_{number:04d}.png")
        for name in STRUCTURES if number % 10 else STRUCTURES[:3]:
            Image.fromarray(masks[name] * np.uint8(255)).save(out / "masks" / name / f"phantom_{number:04d}.png")
    return out


def _rounded(mask: Mask, depth: float) -> Array:
    """How thick a rounded body of this outline is, (H, W), 0-1; it reaches 1 at ``depth`` of its inner radius."""
    inside = distance_transform_edt(mask)
    share = (inside / max(depth * inside.max(), 1)).clip(0, 1)
    return np.asarray(np.sqrt(1 - (1 - share) ** 2), np.float32)


def _shell(mask: Mask) -> Array:
    """A bone of this outline, (H, W): marrow in a denser bark."""
    thick = _rounded(mask, 1.0)
    return thick + 0.6 * (mask - thick)


def _soft_tissue(rng: np.random.Generator, shapes: dict[str, Mask]) -> Array:
    """Density of the body without its bones and lungs, (H, W): skin, fat, muscle, breasts, gas in the stomach."""
    size = shapes["body"].shape[0], shapes["body"].shape[1]
    y, x = grid(size)
    density = rng.uniform(0.75, 0.95) * _rounded(shapes["body"], 0.75) * _texture(rng, size)
    density -= rng.uniform(0.1, 0.35) * _rounded(shapes["gas"], 1.0) * (rng.random() < 0.75)
    breast = rng.uniform(0.04, 0.16) * (rng.random() < 0.5)
    low, radius = rng.uniform(0.2, 0.4), rng.uniform(0.28, 0.36)
    for across in (-0.45, 0.45):
        away = np.hypot(x - across, (y - low) * 0.9) / radius
        density += breast * np.sqrt((1 - away**2).clip(0)) * expit((y - low + 0.15) / 0.08)
    return density


def _texture(rng: np.random.Generator, size: Size) -> Array:
    """Uneven tissue, (H, W), about 1: folds, fat, small vessels; each person's own."""
    return np.asarray(1 + sum(share * noise(rng, size, cells) for share, cells in _TEXTURE))


def _lungs(rng: np.random.Generator, side: int, place: Place, masks: dict[str, Mask]) -> Array:
    """What lungs take from the density of the body, and what their vessels add, (H, W)."""
    air, density = rng.uniform(0.42, 0.56), np.zeros((side, side), np.float32)
    for name, sign in (("left lung", 1), ("right lung", -1)):
        vessels = layer((side, side), _vessels(rng, side, place, sign), side / 350)
        density -= air * _rounded(masks[name], 0.55) * _texture(rng, (side, side))
        density += rng.uniform(0.1, 0.2) * vessels * gaussian_filter(masks[name].astype(np.float32), side / 120)
    return density


def _heart(rng: np.random.Generator, masks: dict[str, Mask]) -> Array:
    """What the heart adds, (H, W): much where it stands for lung, little where it stands for other tissue."""
    aside = np.maximum(masks["left lung"], masks["right lung"]).astype(np.float32)
    aside = gaussian_filter(aside, aside.shape[0] / 60)
    return np.asarray(rng.uniform(0.85, 1.15) * _rounded(masks["heart"], 0.6) * (0.1 + 0.28 * aside))


def _vessels(rng: np.random.Generator, side: int, place: Place, sign: int) -> list[tuple[Array, float]]:
    """Vessels from the hilum of a lung outward, thinner with each fork."""
    lines = []
    for way in np.linspace(-1.35, 1.35, 9) + rng.normal(0, 0.12, 9):
        start, width = np.array((rng.normal(0.17, 0.02), rng.normal(0.0, 0.06))), rng.uniform(0.014, 0.026)
        for _ in range(4):
            end = start + rng.uniform(0.1, 0.2) * np.array((np.cos(way), np.sin(way)))
            for turn in (rng.normal(0, 0.25), rng.choice((-0.6, 0.6)) + rng.normal(0, 0.2)):
                tip = end + rng.uniform(0.06, 0.14) * np.array((np.cos(way + turn), np.sin(way + turn)))
                lines.append((place(np.stack((end, tip)) * (sign, 1)), 0.5 * width * side / 2))
            lines.append((place(np.stack((start, end)) * (sign, 1)), width * side / 2))
            start, width, way = end, 0.65 * width, way + rng.normal(0, 0.2)
    return lines


def _ribs(rng: np.random.Generator, side: int, place: Place) -> Array:
    """Density of the ribs, (H, W): from the spine outward, round the chest wall, and forward and down to the middle."""
    back, front = [], []
    first, apart, slope = rng.uniform(-0.76, -0.63), rng.uniform(0.115, 0.15), rng.uniform(0.5, 1.6)
    for rib in range(11):
        top = first + apart * rib
        wide = np.interp(top + 0.15, (-0.7, -0.5, -0.2, 0.1, 0.4, 0.9), (0.36, 0.55, 0.65, 0.7, 0.72, 0.74))
        for sign in (-1, 1):
            steep = rng.uniform(0.8, 1.2)
            rear = (
                (0.08, top),
                (0.5 * wide, top + 0.03 * slope),
                (0.85 * wide, top + 0.1 * slope),
                (wide, top + 0.2 * steep),
            )
            fore = ((1.0, 0.2), (0.93, 0.29), (0.7, 0.39), (0.45, 0.46))
            back.append(curve(rear) * (sign, 1))
            front.append(curve([(x * wide, top + y * steep) for x, y in fore]) * (sign, 1))
    bones = np.zeros((side, side), np.float32)
    for curves, width, strength in ((back, 0.05, 0.17), (front, 0.055, 0.09)):
        lines = [place(curve) for curve in curves]
        for share, weight in ((1.0, 0.8), (0.6, -0.3)):
            bones += strength * weight * layer((side, side), [(line, share * width * side / 2) for line in lines])
    return np.asarray(rng.uniform(0.7, 1.3) * gaussian_filter(bones, side / 400))


def _spine(rng: np.random.Generator, side: int, place: Place) -> Array:
    """Density of the middle, (H, W): vertebrae, the arch of the aorta, at the left, and air in the windpipe."""
    bend = rng.normal(0, 0.015)
    size, heights = (side, side), np.arange(rng.uniform(-1.3, -1.1), 1.3, rng.uniform(0.12, 0.15))
    middle = np.array([(bend * np.sin(3 * y), y) for y in heights])
    bodies = [(place(np.array(((x - 0.001, y - 0.045), (x, y + 0.045)))), 0.15 * side / 2) for x, y in middle]
    density = 0.1 * layer(size, bodies, side / 130) + 0.05 * layer(size, [(place(middle), 0.04 * side / 2)], side / 150)
    arch = curve([(-0.05, -0.1), (-0.07, -0.3), (0.02, -0.38), (0.12, -0.33), (0.13, -0.1), (0.1, 0.5)])
    density += 0.16 * layer(size, [(place(arch), rng.uniform(0.09, 0.13) * side / 2)], side / 90)
    fork = (-0.02, -0.22)
    airways = [([(0.0, -1.3), (-0.01, -0.6), fork], 0.085), ([fork, (-0.12, -0.08)], 0.05)]
    airways.append(([fork, (0.13, -0.06)], 0.05))
    lines = [(place(curve(points)), width * side / 2) for points, width in airways]
    return np.asarray(density - rng.uniform(0.1, 0.18) * layer(size, lines, side / 130))


def _film(rng: np.random.Generator, density: Array) -> Mask:
    """The film, (H, W) uint8: exposed, with the marker L, grain, and what the detector blurs."""
    side = density.shape[0]
    y, x = grid((side, side))
    corner = np.array((rng.uniform(0.8, 0.9), rng.uniform(-0.94, -0.86)))
    letter = corner + np.array(((-0.03, -0.05), (-0.03, 0.05), (0.035, 0.05)))
    density = density + 1.5 * layer((side, side), [((letter + 1) * side / 2, 0.018 * side / 2)])
    exposed = gaussian_filter(density, side / 600) + rng.normal(0, 0.05) * x + rng.normal(0, 0.05) * y
    grain = gaussian_filter(rng.normal(0, 1, density.shape), 0.6) * rng.uniform(0.015, 0.035)
    grey = expit((exposed + grain - rng.uniform(0.5, 0.62)) * rng.uniform(4.2, 6.5))
    return np.asarray((255 * (rng.uniform(0.0, 0.06) + rng.uniform(0.86, 0.94) * grey)).round(), np.uint8)
