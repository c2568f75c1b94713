"""What others take for the same work: pyrender off screen for views, trimesh and fpsample for points."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from benchmarks.pack.stage import POINTS, SIZE, VIEWS
from captionless.precompute.camera import AMBIENT, DISTANCE, FIELD_OF_VIEW, STUDIO, axes


def pyrender_views(meshes: Sequence[Path]) -> float:
    """Processor seconds an object: its views as RGBA, with three lights, multisampled (4), as pyrender always does."""
    os.environ["PYOPENGL_PLATFORM"] = "egl"
    np.infty = np.inf  # type: ignore[attr-defined]  # which pyrender 0.1.45 still asks numpy for
    import pyrender

    renderer = pyrender.OffscreenRenderer(SIZE, SIZE)

    def draw(path: Path) -> None:
        loaded = trimesh.load(path, force="scene", process=False)
        extent = float(np.linalg.norm(loaded.extents)) / 2
        loaded.apply_translation(-loaded.bounds.mean(axis=0))
        loaded.apply_scale(1 / extent)
        scene = pyrender.Scene.from_trimesh_scene(loaded, bg_color=[1.0, 1, 1, 0], ambient_light=[AMBIENT] * 3)
        camera = scene.add(pyrender.PerspectiveCamera(np.radians(FIELD_OF_VIEW)))
        lights = [scene.add(pyrender.DirectionalLight(intensity=3 * light.intensity)) for light in STUDIO]
        for view in range(VIEWS):
            turn = axes(360 * view / VIEWS, 20.0)
            scene.set_pose(camera, _pose(turn, DISTANCE * turn[2]))
            for node, light in zip(lights, STUDIO, strict=True):
                backward = np.array(light.towards) @ turn
                side = np.cross(turn[1], backward)
                scene.set_pose(node, _pose(_unit(np.array([side, np.cross(backward, side), backward])), np.zeros(3)))
            renderer.render(scene, flags=pyrender.RenderFlags.RGBA | pyrender.RenderFlags.SKIP_CULL_FACES)

    return per_object(meshes, draw)


def trimesh_points(meshes: Sequence[Path]) -> float:
    """Processor seconds an object: as many points, evenly at random, by trimesh."""

    def sample(path: Path) -> None:
        trimesh.sample.sample_surface(trimesh.load(path, force="mesh", process=False), POINTS, seed=0)

    return per_object(meshes, sample)


def fpsample_order(clouds: Sequence[NDArray[np.float32]]) -> float:
    """Processor seconds a cloud: the farthest-point order of all of its points, by fpsample's kd-lines."""
    import fpsample

    def order(cloud: NDArray[np.float32]) -> None:
        fpsample.bucket_fps_kdline_sampling(cloud, len(cloud), h=5, start_idx=0)

    return per_object(clouds, order)


def per_object(items: Sequence[Any], work: Callable[[Any], object]) -> float:
    """Processor seconds each, the mean over all, after one to warm up."""
    work(items[0])
    began = time.process_time()
    for item in items:
        work(item)
    return (time.process_time() - began) / len(items)


def _pose(rotation: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation.T, at
    return pose


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float64)
