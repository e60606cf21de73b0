"""A planet among stars and nebulae."""

from __future__ import annotations

import numpy as np

from studio.painter.canvas import UNITS, colour, mix
from studio.painter.land import draw_planet_horizon
from studio.painter.noise import noise_field
from studio.painter.scene import RINGS, SMALL_MOON
from studio.painter.sky import stars
from studio.painter.stage import Stage

NEBULAE = ("d0408a", "4060e0", "20b0a0", "e07a30", "8a40d0")
PLANET_COLOURS = {
    "red": ("7a2218", "e2704a"),
    "blue": ("123a7a", "7ac0f0"),
    "green": ("1c5a3a", "9ae08a"),
    "orange": ("8a4a12", "f6c06a"),
    "purple": ("3a1a6a", "c08af0"),
}


def paint_space(stage: Stage) -> None:
    """Cover the canvas: nebulae, stars, the planet with its rings and its small moon, sometimes a rocky foreground."""
    canvas, rng, scene = stage.canvas, stage.rng, stage.scene
    shape, everywhere = (canvas.size, canvas.size), (slice(0, canvas.size), slice(0, canvas.size))
    canvas.pixels[...] = np.clip(mix(stage.light.top, stage.light.middle, 0.3) * 140, 0, 255)
    for code, strength in zip(rng.choice(NEBULAE, 2, replace=False).tolist(), (0.75, 0.6), strict=True):
        cloud = np.clip(noise_field(rng, shape, (2.5, 2.5), 6), 0, 2) * np.float32(0.5 * strength)
        canvas.blend(colour(code), np.clip(cloud, 0, 0.75), everywhere)
    radius = float(rng.uniform(40, 62))
    x, y = float(UNITS * rng.uniform(0.32, 0.68)), float(UNITS * rng.uniform(0.32, 0.52))
    ringed = scene.has(RINGS)
    stage.sun_x, stage.sun_y, stage.sun_radius = x, y, radius * (1.5 if ringed else 1.05)
    foreground = rng.random() < 0.4
    if foreground:
        stage.skyline[:] = UNITS * 0.8
    stage.details.append(stars(stage))
    low, high = (colour(code) for code in PLANET_COLOURS[scene.planet])
    halo = canvas.box(x, y, radius * 2.2, radius * 2.2)
    column, row = canvas.x[:, halo[1]] - np.float32(x), canvas.y[halo[0]] - np.float32(y)
    distance = np.hypot(column, row)
    canvas.blend(high, np.float32(0.35) * np.exp(-np.clip(distance - radius, 0, 99) / 9), halo)
    along, across = column * 0.97 + row * 0.25, (row * 0.97 - column * 0.25) * 3.6
    reach = np.hypot(along, across) / np.float32(radius)
    ring = np.clip((reach - 1.3) * 20, 0, 1) * np.clip((2.1 - reach) * 20, 0, 1) * (0.6 + 0.3 * np.sin(reach * 30))
    if ringed:
        canvas.blend(colour("e8d8b8"), (ring * (across <= 0) * 0.9).astype(np.float32), halo)
    nx, ny = column / np.float32(radius), row / np.float32(radius)
    towards_us = np.sqrt(np.clip(1 - nx * nx - ny * ny, 0, 1))
    size = distance.shape
    if rng.random() < 0.5:
        pattern = np.clip(0.5 + 0.3 * noise_field(rng, size, (6, 6), 5), 0, 1)
    else:
        pattern = np.clip(0.5 + 0.35 * np.sin(ny * 9 + noise_field(rng, size, (4, 4), 4) * 1.2), 0, 1)
    light = np.clip(0.75 * (-0.6 * nx - 0.5 * ny + 0.65 * towards_us) + 0.16, 0.04, 1)
    body = np.clip(mix(low, high, pattern[..., None]) * light[..., None] * np.float32(1.3), 0, 1)
    canvas.blend(body, np.clip((radius - distance) * canvas.scale + 0.5, 0, 1), halo)
    if ringed:
        canvas.blend(colour("e8d8b8"), (ring * (across > 0) * 0.9).astype(np.float32), halo)
    if scene.has(SMALL_MOON):
        mx, my = (UNITS - 34 if x < UNITS / 2 else 34), float(rng.uniform(30, 70))
        canvas.disc(mx, my, 13, colour("5a5a68"))
        canvas.disc(mx - 1.5, my - 1.5, 11, colour("cfcfd8"))
        canvas.disc(mx - 4, my + 2, 2.6, colour("a8a8b4"))
        canvas.disc(mx + 3, my - 4, 2.0, colour("a8a8b4"))
        stage.attend(mx, my, 15, 15)
    if foreground:
        draw_planet_horizon(canvas, rng, low * np.float32(0.4))
    stage.attend(x, y, radius * 0.6, radius * 0.6)
