"""The ten digits in handwriting: points of strokes, to be connected by a smooth line."""

from collections.abc import Sequence

__all__ = ["DIGITS", "smooth"]

Point = tuple[float, float]

# Digit → strokes, in a square from (0, 0), the upper left corner, to (1, 1).
DIGITS: dict[int, list[list[Point]]] = {
    0: [[(0.52, 0.16), (0.34, 0.24), (0.27, 0.5), (0.34, 0.77), (0.51, 0.85), (0.68, 0.75),
         (0.73, 0.48), (0.66, 0.24), (0.5, 0.16)]],
    1: [[(0.56, 0.16), (0.53, 0.38), (0.49, 0.62), (0.46, 0.85)]],
    2: [[(0.3, 0.32), (0.38, 0.19), (0.56, 0.16), (0.68, 0.28), (0.63, 0.46), (0.46, 0.64),
         (0.29, 0.81)], [(0.29, 0.81), (0.5, 0.79), (0.74, 0.8)]],
    3: [[(0.31, 0.22), (0.48, 0.15), (0.65, 0.22), (0.65, 0.37), (0.47, 0.48)],
        [(0.47, 0.48), (0.66, 0.55), (0.7, 0.7), (0.58, 0.83), (0.42, 0.84), (0.28, 0.76)]],
    4: [[(0.34, 0.17), (0.29, 0.36), (0.29, 0.5), (0.44, 0.53), (0.7, 0.49)],
        [(0.68, 0.17), (0.64, 0.5), (0.6, 0.86)]],
    5: [[(0.68, 0.18), (0.37, 0.19)], [(0.37, 0.19), (0.34, 0.45)],
        [(0.34, 0.45), (0.52, 0.42), (0.67, 0.54), (0.66, 0.73), (0.5, 0.84), (0.28, 0.8)]],
    6: [[(0.6, 0.15), (0.43, 0.31), (0.33, 0.53), (0.33, 0.73), (0.45, 0.85), (0.61, 0.81),
         (0.66, 0.66), (0.55, 0.55), (0.4, 0.61), (0.34, 0.72)]],
    7: [[(0.29, 0.22), (0.48, 0.2), (0.71, 0.2)], [(0.71, 0.2), (0.57, 0.47), (0.46, 0.85)]],
    8: [[(0.63, 0.24), (0.48, 0.16), (0.36, 0.27), (0.44, 0.42), (0.6, 0.57), (0.65, 0.73),
         (0.52, 0.85), (0.37, 0.76), (0.4, 0.6), (0.56, 0.44), (0.65, 0.29), (0.6, 0.21)]],
    9: [[(0.65, 0.3), (0.52, 0.18), (0.37, 0.26), (0.36, 0.42), (0.49, 0.49), (0.62, 0.4),
         (0.66, 0.27)], [(0.66, 0.27), (0.62, 0.56), (0.55, 0.85)]],
}  # fmt: skip


def smooth(points: Sequence[Point], steps: int = 2) -> list[Point]:
    """Return points of the Catmull-Rom curve through ``points``, ``steps`` per segment."""
    padded = [points[0], *points, points[-1]]
    line = [points[0]]
    for four in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        x, y = zip(*four, strict=True)
        line += [
            (_curve(*x, step / steps), _curve(*y, step / steps)) for step in range(1, steps + 1)
        ]
    return line


def _curve(a: float, b: float, c: float, d: float, t: float) -> float:
    """Interpolate from ``b`` at t = 0 to ``c`` at t = 1."""
    squared, cubed = 2 * a - 5 * b + 4 * c - d, 3 * b - a - 3 * c + d
    return 0.5 * (2 * b + (c - a) * t + squared * t**2 + cubed * t**3)
