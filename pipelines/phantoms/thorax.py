"""Outlines of a drawn chest, and where they lie in a film.

They are in coordinates of the body: x to the patient's left, y down, 0 in the middle, 1 at half the image's side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.interpolate import CubicSpline

from .drawing import Array

Place = Callable[[Array], Array]
"""From points of the body, (N, 2), to pixels."""

LEFT, RIGHT = np.array((1.0, 1.0)), np.array((-1.0, 1.0))
"""Points of the left side, as they are and mirrored."""


def placement(rng: np.random.Generator, side: int) -> Place:
    """How the body lies in the film: a little turned, scaled, moved and asymmetric."""
    angle, half = rng.normal(0, 0.04), (side - 1) / 2
    turn = np.array(((np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))))
    scale = rng.uniform(0.96, 1.14) * np.array((rng.uniform(0.9, 1.08), rng.uniform(0.9, 1.08)))
    moved = rng.normal(0, 0.035, 2)
    lean = rng.normal(0, 0.04)  # one side nearer to the film

    def place(points: Array) -> Array:
        wider = points * (1 + lean * points[:, :1] * (1.0, 0.0))
        return np.asarray((wider * scale @ turn + moved) * half + half)

    return place


def curve(points: Sequence[Sequence[float]] | Array, count: int = 40, closed: bool = False) -> Array:
    """A smooth line through points, (count, 2)."""
    knots = np.array([*points, points[0]] if closed else points)
    along = np.concatenate(([0.0], np.linalg.norm(np.diff(knots, axis=0), axis=1).cumsum()))
    spline = CubicSpline(along, knots, bc_type="periodic" if closed else "natural")
    return np.asarray(spline(np.linspace(0, along[-1], count)))


def outlines_of_person(rng: np.random.Generator) -> dict[str, Array]:
    """Outlines in the body, (N, 2) each: of `STRUCTURES`, the body itself and the gas in the stomach."""
    breath, habitus = rng.normal(0, 0.045), rng.uniform(0.94, 1.15)
    larger = np.array((rng.uniform(0.82, 1.18), rng.uniform(0.9, 1.1)))
    heart = np.array([
        (0.02, -0.14), (0.15, -0.13), (0.26, 0.04), (0.38, 0.25), (0.43, 0.40), (0.34, 0.49), (0.1, 0.5),
        (-0.13, 0.45), (-0.2, 0.28), (-0.17, 0.08), (-0.08, -0.08),
    ])  # fmt: skip
    heart = (heart - (0.05, 0.45)) * larger + (0.05, 0.46 + breath) + rng.normal(0, 0.01, heart.shape)
    trunk = np.array([
        (0.17, -1.6), (0.19, -1.0), (0.36, -0.9), (0.7, -0.84), (1.2, -0.7), (1.8, -0.5), (1.8, -0.25), (1.0, -0.15),
        (0.86, 0.05), (0.83, 0.3), (0.86, 0.8), (0.9, 1.8),
    ])  # fmt: skip
    trunk = curve(trunk * (habitus, 1) + rng.normal(0, 0.025, trunk.shape), 120)
    gas = np.array((rng.uniform(0.25, 0.45), 0.6 + breath)) + rng.uniform(0.04, 0.16) * _circle() * (1, 0.55)
    return {
        "heart": curve(heart, 160, closed=True),
        "left lung": _lung(rng, breath) * LEFT,
        "right lung": _lung(rng, breath - rng.uniform(0.02, 0.07)) * RIGHT,
        "left clavicle": _clavicle(rng) * LEFT,
        "right clavicle": _clavicle(rng) * RIGHT,
        "body": np.concatenate((trunk, trunk[::-1] * RIGHT)),
        "gas": gas,
    }


def _circle() -> Array:
    turns = np.linspace(0, 2 * np.pi, 60)
    return np.stack((np.cos(turns), np.sin(turns)), 1)


def _lung(rng: np.random.Generator, breath: float) -> Array:
    """A lung on the positive side, (N, 2): chest wall, diaphragm with its corner at the wall, mediastinum."""
    top, flat = rng.normal(-0.75, 0.02), rng.uniform(-0.03, 0.03)
    wall = [(0.17, top + 0.13), (0.22, top + 0.03), (0.3, top), (0.4, top + 0.05), (0.53, top + 0.22), (0.63, -0.25)]
    wall += [(0.69, 0.1), (0.71, 0.36), (0.715, 0.57 + breath)]
    dome = [wall[-1], (0.64, 0.46), (0.53, 0.41 + flat), (0.38, 0.4 + flat), (0.22, 0.44), (0.11, 0.47)]
    inner = [(0.11, 0.47 + breath), (0.12, 0.2), (0.17, 0.0), (0.12, -0.2), (0.13, -0.4), wall[0]]
    dome = [dome[0], *((x, y + breath) for x, y in dome[1:])]
    jitter = [np.array(part) + _still_ends(rng.normal(0, 0.016, (len(part), 2))) for part in (wall, dome, inner)]
    return np.concatenate([curve(part, 60) for part in jitter])


def _still_ends(moves: Array) -> Array:
    """Moves of the points of a line, (N, 2), without those of its ends."""
    moves[[0, -1]] = 0
    return moves


def _clavicle(rng: np.random.Generator) -> Array:
    """A clavicle on the positive side, (N, 2): an S from the breastbone up to the shoulder."""
    rise, low = rng.uniform(0.75, 1.3), rng.normal(-0.51, 0.025)
    middle = np.array([(0.06, 0.0), (0.2, -0.04), (0.38, -0.13), (0.56, -0.17), (0.72, -0.17), (0.86, -0.2)])
    middle = curve(middle * (rng.uniform(0.95, 1.05), rise) + (0, low))
    half = np.interp(np.linspace(0, 1, 40), (0, 0.08, 0.4, 0.75, 1), (0.03, 0.042, 0.023, 0.024, 0.034))
    half *= rng.uniform(0.85, 1.15)
    way = np.gradient(middle, axis=0)
    across = np.stack((-way[:, 1], way[:, 0]), 1) / np.linalg.norm(way, axis=1, keepdims=True) * half[:, None]
    return np.concatenate((middle + across, (middle - across)[::-1]))
