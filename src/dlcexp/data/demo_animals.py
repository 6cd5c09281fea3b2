"""Lizards that walk over cluttered ground, seen from above: the frames of the demo project.

Everything is drawn from a seed at twice the size of a frame and then averaged down, which smooths
edges. Lengths are in pixels of the frame, colours are RGB in 0-255.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from dlcexp.project.demo import IMAGE_SIZE

Array = NDArray[np.floating[Any]]
Bytes = NDArray[np.uint8]
Color = tuple[int, int, int]
Random = np.random.Generator

_ZOOM = 2
_SIZE = IMAGE_SIZE * _ZOOM
# cv2 draws at 1/16 px.
_SHIFT = 4


class Ground(NamedTuple):
    """Looks of one video: the colours of the soil, of what lies on it, and of the light."""

    soil: tuple[Color, Color]
    pebbles: Color
    leaves: Color
    strokes: Color
    num_strokes: int
    light: tuple[float, float, float]


class Coat(NamedTuple):
    """Looks of one animal."""

    length: float
    back: Color
    head: Color
    marks: Color
    banded: bool


GROUNDS = {
    "sand": Ground(
        ((203, 180, 138), (160, 132, 96)), (150, 141, 130), (122, 124, 62), (116, 92, 62), 40,
        (1.04, 1.0, 0.92),
    ),
    "moss": Ground(
        ((96, 118, 66), (54, 74, 42)), (126, 128, 120), (148, 112, 52), (128, 150, 82), 420,
        (0.96, 1.04, 0.98),
    ),
    "litter": Ground(
        ((146, 118, 94), (88, 68, 56)), (112, 106, 104), (178, 100, 50), (104, 78, 54), 200,
        (0.9, 0.94, 1.06),
    ),
}  # fmt: skip
COATS = (
    Coat(70, (222, 148, 58), (242, 196, 104), (74, 40, 24), banded=False),
    Coat(62, (104, 142, 170), (164, 190, 200), (218, 228, 222), banded=True),
)


class Video:
    """A scene in which one animal per coat walks about.

    Args:
        ground: a key of `GROUNDS`.
        num_frames: length of the walk.
        rng: decides everything else.
    """

    def __init__(self, ground: str, num_frames: int, rng: Random) -> None:
        self._ground = GROUNDS[ground]
        self._soil = _draw_soil(self._ground, rng)
        self._cover, self._cover_alpha = _draw_cover(self._ground, rng)
        self._shade = _shadow(self._cover_alpha)
        self._light = _draw_light(self._ground, rng)
        self._walks = [_Walk(coat.length, num_frames, rng) for coat in COATS]
        self._spots = rng.uniform(size=(14, 2))
        self._top = int(rng.integers(len(COATS)))
        self._rng = rng

    def frame(self, number: int) -> tuple[Bytes, Array]:
        """Draw a frame and its labels; draw in order, as each takes from the random numbers.

        Returns:
            image (height, width, 3) RGB, and keypoints (individuals, bodyparts, 2) px, NaN where
            another animal or a leaf hides the point, or the frame ends.
        """
        canvas = self._soil.copy()
        keypoints = np.full((len(COATS), 7, 2), np.nan)
        for index in self._order():
            body = _Body(COATS[index], self._walks[index].spine(number), number)
            layer, alpha = body.draw(self._spots)
            _cast_shadow(canvas, alpha)
            _blend(canvas, layer, alpha)
            _hide(keypoints, alpha)
            keypoints[index] = body.keypoints()
        canvas *= self._shade
        _blend(canvas, self._cover, self._cover_alpha)
        _hide(keypoints, self._cover_alpha)
        keypoints[~((keypoints >= 0) & (keypoints <= IMAGE_SIZE - 1)).all(axis=-1)] = np.nan
        flicker = 1 + 0.04 * np.sin(number / 7)
        canvas *= self._light * np.float32(flicker)
        small = cv2.resize(canvas, (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_AREA)
        noisy = small + self._rng.normal(0, 3.5, small.shape)
        return np.clip(noisy, 0, 255).astype(np.uint8), keypoints

    def _order(self) -> list[int]:
        """From the animal at the bottom to that on top, the same for the whole video."""
        return [index for index in range(len(COATS)) if index != self._top] + [self._top]


class _Walk:
    """A smooth path of the snout; the body follows along it."""

    def __init__(self, length: float, num_frames: int, rng: Random) -> None:
        self._length = length
        self._step = 0.5
        speed = 1.9 + 1.1 * _smooth_noise(num_frames, 12, rng)
        self._travelled = length + 10 + np.cumsum(np.clip(speed, 0.2, 3.4))
        self._path = self._wander(int((self._travelled[-1] + 10) / self._step), rng)

    def _wander(self, steps: int, rng: Random) -> Array:
        """(steps, 2) px, `step` apart; turns back before it meets the border."""
        middle = IMAGE_SIZE / 2
        place = middle + rng.uniform(-35, 35, size=2)
        heading = rng.uniform(0, 2 * np.pi)
        whim = _smooth_noise(steps, 45, rng) / 20
        path = np.empty((steps, 2))
        for i in range(steps):
            path[i] = place
            inward = middle - place
            ahead = place + 24 * np.array([np.cos(heading), np.sin(heading)])
            excess = max(0.0, float(np.abs(ahead - middle).max()) - (middle - 26))
            side = np.cos(heading) * inward[1] - np.sin(heading) * inward[0]
            turn = whim[i] + np.sign(side) * min(excess / 60, 0.08)
            heading += self._step * float(np.clip(turn, -0.08, 0.08))
            place = place + self._step * np.array([np.cos(heading), np.sin(heading)])
        return path

    def spine(self, number: int) -> "_Spine":
        """Return the animal's midline in frame `number`, with the sway of its gait."""
        travelled = float(self._travelled[number])
        u = np.linspace(0, 1, 81)
        at = (travelled - u * self._length) / self._step
        ticks = np.arange(len(self._path))
        line = np.stack([np.interp(at, ticks, self._path[:, axis]) for axis in (0, 1)], axis=1)
        ahead = -np.gradient(line, axis=0)
        ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
        left = np.stack([ahead[:, 1], -ahead[:, 0]], axis=1)
        sway = (0.6 + 3.2 * u**1.5) * np.sin(2 * np.pi * (1.1 * u + travelled / 34))
        return _Spine(line + sway[:, None] * left, ahead, left, travelled)


@dataclass(frozen=True)
class _Spine:
    """Points from snout to tail tip, the way ahead and the way left there, and the way gone."""

    line: Array
    ahead: Array
    left: Array
    travelled: float

    def at(self, u: float, ahead: float = 0.0, left: float = 0.0) -> Array:
        """Return the point a fraction `u` down the body, shifted by px."""
        i = round(u * (len(self.line) - 1))
        place: Array = self.line[i] + ahead * self.ahead[i] + left * self.left[i]
        return place


# Half the width of a body of length 66 at fractions of its length.
_AT = (0.0, 0.04, 0.11, 0.19, 0.28, 0.40, 0.50, 0.56, 0.75, 1.0)
_HALF_WIDTH = (2.0, 4.2, 5.4, 3.9, 5.8, 6.5, 5.0, 3.5, 2.0, 0.8)
_SHOULDER, _HIP, _TAILBASE = 0.25, 0.50, 0.57


class _Body:
    """One animal in one frame."""

    def __init__(self, coat: Coat, spine: _Spine, number: int) -> None:
        self._coat, self._spine, self._number = coat, spine, number
        self._scale = coat.length / 66
        swing = np.sin(2 * np.pi * spine.travelled / 22)
        # Diagonal feet move together.
        self._feet = {
            "left_forefoot": self._leg(_SHOULDER, +1, 5 + 5 * swing, knee=-3),
            "right_forefoot": self._leg(_SHOULDER, -1, 5 - 5 * swing, knee=-3),
            "left_hindfoot": self._leg(_HIP, +1, -4 - 5 * swing, knee=5),
            "right_hindfoot": self._leg(_HIP, -1, -4 + 5 * swing, knee=5),
        }

    def keypoints(self) -> Array:
        """Return keypoints (bodyparts, 2) px in the order of the demo project."""
        return np.stack([
            self._spine.at(0),
            self._feet["left_forefoot"][-1],
            self._feet["right_forefoot"][-1],
            self._spine.at(_TAILBASE),
            self._feet["left_hindfoot"][-1],
            self._feet["right_hindfoot"][-1],
            self._spine.at(1),
        ])  # fmt: skip

    def draw(self, spots: Array) -> tuple[Array, Array]:
        """Draw the animal on an empty canvas: colour (h, w, 3), opacity (h, w) in 0-1."""
        color = np.zeros((_SIZE, _SIZE, 3), np.uint8)
        alpha = np.zeros((_SIZE, _SIZE), np.uint8)
        for joints in self._feet.values():
            self._draw_leg(color, alpha, joints)
        self._draw_trunk(color, alpha)
        self._draw_marks(color, spots)
        depth = cv2.distanceTransform((alpha > 127).astype(np.uint8), cv2.DIST_L2, 3)
        shade = 0.62 + 0.43 * np.clip(depth / (4.5 * _ZOOM), 0, 1)
        return color * shade[..., None].astype(np.float32), alpha.astype(np.float32) / 255

    def _leg(self, joint: float, side: int, ahead: float, knee: float) -> Array:
        """(3, 2): joint at the trunk, knee or elbow, foot."""
        k = self._scale
        return np.stack([
            self._spine.at(joint, 0, side * 3 * k),
            self._spine.at(joint, (0.4 * ahead + knee) * k, side * 9 * k),
            self._spine.at(joint, ahead * k, side * 14 * k),
        ])  # fmt: skip

    def _draw_leg(self, color: Bytes, alpha: Bytes, joints: Array) -> None:
        shade = _mix(self._coat.back, (20, 16, 12), 0.25)
        for canvas, paint in ((color, shade), (alpha, 255)):
            cv2.polylines(
                canvas, [_fixed(joints)], False, paint, round(3.4 * _ZOOM), cv2.LINE_AA, _SHIFT
            )
            foot = joints[-1]
            toes = foot - joints[-2]
            toes = np.arctan2(toes[1], toes[0])
            for spread in (-0.9, 0.0, 0.9):
                tip = foot + 4.2 * np.array([np.cos(toes + spread), np.sin(toes + spread)])
                _line(canvas, foot, tip, paint, round(1.3 * _ZOOM))
            _disc(canvas, foot, 2.2, paint)

    def _draw_trunk(self, color: Bytes, alpha: Bytes) -> None:
        """Draw discs from the tail to the head, close enough to make a smooth outline."""
        u = np.linspace(0, 1, len(self._spine.line))
        radii = _fixed_size(np.interp(u, _AT, _HALF_WIDTH) * self._scale)
        centers = _fixed(self._spine.line)
        for i in reversed(range(len(u))):
            center, radius = (int(centers[i, 0]), int(centers[i, 1])), int(radii[i])
            cv2.circle(color, center, radius, self._paint(u[i]), -1, cv2.LINE_AA, _SHIFT)
            cv2.circle(alpha, center, radius, 255, -1, cv2.LINE_AA, _SHIFT)

    def _paint(self, u: float) -> Color:
        coat = self._coat
        if u < 0.17:
            return coat.head
        if coat.banded and np.sin(2 * np.pi * u * 11) > 0.45:
            return coat.marks
        tail = 0.45 * max(0.0, (u - _TAILBASE) / (1 - _TAILBASE))
        return _mix(coat.back, coat.marks if not coat.banded else (30, 40, 60), tail)

    def _draw_marks(self, color: Bytes, spots: Array) -> None:
        """Draw spots or a stripe on the back, and the eyes."""
        coat, k = self._coat, self._scale
        if not coat.banded:
            for along, across in spots:
                place = self._spine.at(0.2 + 0.5 * along, 0, (across - 0.5) * 8 * k)
                _disc(color, place, 1.1 + 0.5 * across, coat.marks)
        for side in (1, -1):
            _disc(color, self._spine.at(0.085, 0, side * 3.3 * k), 1.5, (16, 14, 14))


# The ground and what lies on it


def _draw_soil(ground: Ground, rng: Random) -> Array:
    grain = _fractal((4, 9, 22, 60, 150), rng)[..., None]
    light, dark = (np.array(color, np.float32) for color in ground.soil)
    soil = np.ascontiguousarray(dark + (light - dark) * grain + rng.normal(0, 5, (_SIZE, _SIZE, 1)))
    canvas = np.clip(soil, 0, 255).astype(np.uint8)
    for _ in range(ground.num_strokes):
        start = rng.uniform(0, IMAGE_SIZE, 2)
        angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(4, 13)
        end = start + length * np.array([np.cos(angle), np.sin(angle)])
        paint = _mix(ground.strokes, ground.soil[1], rng.uniform(0, 0.8))
        _line(canvas, start, end, paint, 2)
    picture = canvas.astype(np.float32)
    for _ in range(16):
        _lay_pebble(picture, ground.pebbles, rng)
    for _ in range(5):
        _lay_twig(picture, ground.strokes, rng)
    return picture


def _lay_pebble(canvas: Array, color: Color, rng: Random) -> None:
    center, axes = rng.uniform(0, IMAGE_SIZE, 2), rng.uniform(1.8, 6.5, 2)
    mask = np.zeros((_SIZE, _SIZE), np.uint8)
    cv2.ellipse(
        mask, _fixed(center).tolist(), _fixed_size(axes).tolist(), rng.uniform(0, 180), 0, 360,
        255, -1, cv2.LINE_AA, _SHIFT,
    )  # fmt: skip
    tint = np.array(_mix(color, (60, 60, 60), rng.uniform(0, 0.5)), np.float32)
    depth = cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 3)[..., None]
    _lay(canvas, tint * (0.7 + 0.5 * np.clip(depth / 9, 0, 1)), mask)


def _lay_twig(canvas: Array, color: Color, rng: Random) -> None:
    """Draw a thin, bent and tapered twig, which may be taken for a tail."""
    start, heading = rng.uniform(0, IMAGE_SIZE, 2), rng.uniform(0, 2 * np.pi)
    bend = rng.uniform(-0.03, 0.03)
    mask = np.zeros((_SIZE, _SIZE), np.uint8)
    for step in range(44):
        angle = heading + bend * step
        start = start + 0.9 * np.array([np.cos(angle), np.sin(angle)])
        _disc(mask, start, 1.7 - step / 40, 255)
    tint = np.array(_mix(color, (30, 24, 18), 0.35), np.float32)
    _lay(canvas, np.broadcast_to(tint, canvas.shape), mask)


def _draw_cover(ground: Ground, rng: Random) -> tuple[Array, Array]:
    """Draw leaves above the animals: colour and opacity."""
    color = np.zeros((_SIZE, _SIZE, 3), np.float32)
    alpha = np.zeros((_SIZE, _SIZE), np.float32)
    for _ in range(5):
        layer, mask = _draw_leaf(_mix(ground.leaves, (40, 40, 24), rng.uniform(0, 0.4)), rng)
        _cast_shadow(color, mask)
        _blend(color, layer, mask)
        np.maximum(alpha, mask, out=alpha)
    return color, alpha


def _draw_leaf(paint: Color, rng: Random) -> tuple[Array, Array]:
    center, angle = rng.uniform(12, IMAGE_SIZE - 12, 2), rng.uniform(0, 2 * np.pi)
    length, width = rng.uniform(10, 14), rng.uniform(3.6, 5.2)
    along = np.linspace(-1, 1, 33)
    across = width * (1 - along**2) ** 0.8 * (1 - 0.25 * along)
    axis = np.array([np.cos(angle), np.sin(angle)])
    side = np.array([-axis[1], axis[0]])
    rib = center + length * along[:, None] * axis
    outline = np.concatenate([rib + across[:, None] * side, (rib - across[:, None] * side)[::-1]])
    color = np.empty((_SIZE, _SIZE, 3), np.uint8)
    color[:] = paint
    alpha = np.zeros((_SIZE, _SIZE), np.uint8)
    cv2.fillPoly(alpha, [_fixed(outline)], 255, cv2.LINE_AA, _SHIFT)
    vein = _mix(paint, (235, 225, 180), 0.35)
    _line(color, rib[0], rib[-1], vein, 2)
    for i in range(5, 29, 4):
        for sign in (1, -1):
            tip = rib[i] + 0.25 * length * axis + 0.8 * sign * across[i] * side
            _line(color, rib[i], tip, vein, 1)
    shade = 0.85 + 0.3 * _fractal((30, 80), rng)[..., None]
    return color * shade, alpha.astype(np.float32) / 255


def _draw_light(ground: Ground, rng: Random) -> Array:
    """Return a factor for each pixel: a lamp at one side, in its colour."""
    y, x = np.mgrid[-1 : 1 : _SIZE * 1j, -1 : 1 : _SIZE * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    slope = 1 + 0.17 * (np.cos(angle) * x + np.sin(angle) * y) - 0.08 * (x**2 + y**2)
    return np.asarray(slope[..., None] * np.array(ground.light), np.float32)


# Painting


def _lay(canvas: Array, color: Array, mask: Bytes) -> None:
    alpha = mask.astype(np.float32) / 255
    _cast_shadow(canvas, alpha)
    _blend(canvas, color, alpha)


def _blend(canvas: Array, color: Array, alpha: Array) -> None:
    """Lay `color` on `canvas`; only where it shows, which is a small part for an animal."""
    x, y, width, height = cv2.boundingRect((alpha > 0).astype(np.uint8))
    box = slice(y, y + height), slice(x, x + width)
    canvas[box] += (color[box] - canvas[box]) * alpha[box][..., None]


def _cast_shadow(canvas: Array, alpha: Array) -> None:
    canvas *= _shadow(alpha)


def _shadow(alpha: Array) -> Array:
    """Return a factor (h, w, 1) that darkens next to an object; light is from the upper left."""
    moved = np.roll(alpha, (2 * _ZOOM, 2 * _ZOOM), axis=(0, 1))
    shade: Array = 1 - 0.45 * cv2.GaussianBlur(moved, (0, 0), 1.5 * _ZOOM)[..., None]
    return shade


def _hide(keypoints: Array, alpha: Array) -> None:
    """Unlabel the points under an opaque pixel."""
    for point in keypoints.reshape(-1, 2):
        if np.isnan(point).any():
            continue
        column, row = np.clip(np.round((point + 0.5) * _ZOOM - 0.5), 0, _SIZE - 1).astype(int)
        if alpha[row, column] > 0.5:
            point[:] = np.nan


def _disc(canvas: Bytes, center: Array, radius: float, paint: Color | int) -> None:
    size = round(radius * _ZOOM * 2**_SHIFT)
    if size > 0:
        cv2.circle(canvas, _fixed(center).tolist(), size, paint, -1, cv2.LINE_AA, _SHIFT)


def _line(canvas: Bytes, start: Array, end: Array, paint: Color | int, thickness: int) -> None:
    ends = _fixed(np.stack([start, end])).tolist()
    cv2.line(canvas, ends[0], ends[1], paint, thickness, cv2.LINE_AA, _SHIFT)


def _fixed(points: Array) -> NDArray[np.int32]:
    """Frame px (x, y) of pixel centres as cv2's fixed-point numbers on the larger canvas."""
    return _fixed_size(points + (0.5 - 0.5 / _ZOOM))


def _fixed_size(lengths: Array) -> NDArray[np.int32]:
    return np.asarray(np.rint(lengths * (_ZOOM * 2**_SHIFT)), np.int32)


def _mix(one: Color, other: Color, share: float) -> Color:
    """`one` with a `share` of `other`."""
    red, green, blue = (round((1 - share) * a + share * b) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _fractal(cells: tuple[int, ...], rng: Random) -> Array:
    """(size, size) in 0-1: noise of ever smaller cells, each half as strong as the one before."""
    total = np.zeros((_SIZE, _SIZE), np.float32)
    for octave, count in enumerate(cells):
        noise = rng.random((count, count), dtype=np.float32)
        total += cv2.resize(noise, (_SIZE, _SIZE), interpolation=cv2.INTER_CUBIC) * 0.65**octave
    low, high = np.percentile(total, (1, 99))
    return np.asarray(np.clip((total - low) / (high - low), 0, 1), np.float32)


def _smooth_noise(count: int, period: int, rng: Random) -> Array:
    """`count` numbers of mean 0 and deviation 1 that change over `period` of them."""
    knots = rng.normal(size=count // period + 4)
    return np.interp(np.arange(count) / period, np.arange(len(knots)), knots)
