"""Long straight tracks in an image: coarse cells, a fast Radon transform over them, its highest peak.

The transform is that of Goetz and Druckmueller (1996) and Brady (1998), which Nir, Zackay and Ofek (2018,
AJ 156, 229) brought to satellite tracks: sums along all lines of N columns by log2 N steps of adding pairs.
Cells hold means of pixels in units of their noise, cut off at a few sigma: a star then weighs no more than a
faint track does in each of the hundreds of cells it crosses. What is smooth over several cells is taken out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.ndimage import uniform_filter

from zsds_tasks.declarations import Declaration
from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.pixels.mesh_rows import MeshRows

Image = NDArray[np.float32]
Mask = NDArray[np.uint16]
SIGMA_PER_MAD = 1.4826
LEVEL_SLOPE = 1e-9  # less does not move a line over any image


class LineSearchConfig(Declaration):
    """How lines are looked for."""

    cell: Annotated[int, Field(ge=2)] = Field(8, description="side of a cell, px")
    pixel_clip: Annotated[float, Field(gt=0)] = Field(3.0, description="sigmas at which pixels are cut off")
    cell_clip: Annotated[float, Field(gt=0)] = Field(4.0, description="local sigmas at which cells are")
    smooth_cells: Annotated[int, Field(ge=3)] = Field(
        17, description="box of the local mean and scatter, cells"
    )
    widths: tuple[int, ...] = Field((1, 2, 4), description="of lines that are tried, cells")
    least_length_px: Annotated[float, Field(gt=0)] = Field(300.0, description="inside the image")


@dataclass(frozen=True)
class Line:
    """A straight line through an image, 0-based pixels: other = offset + slope x main.

    The main axis is x, or y if `is_steep`; |slope| is at most about 1.
    """

    is_steep: bool
    offset: float
    slope: float

    def at(self, main: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the other coordinate."""
        return self.offset + self.slope * np.asarray(main, np.float64)

    def moved(self, by: float, tilt: float, span: tuple[int, int]) -> Line:
        """Return the line moved by `by - tilt` at the start of a span, `by + tilt` at the end."""
        start, end = span
        slope = 2 * tilt / max(end - start, 1)
        return Line(self.is_steep, self.offset + by - tilt - slope * start, self.slope + slope)

    def span(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return the first main coordinate inside an image and the one after the last."""
        n_other, n_main = (shape[1], shape[0]) if self.is_steep else (shape[0], shape[1])
        low, high = -0.5, n_main - 0.5
        if abs(self.slope) < LEVEL_SLOPE:
            return (0, n_main) if -0.5 <= self.offset <= n_other - 0.5 else (0, 0)
        a, b = sorted([(-0.5 - self.offset) / self.slope, (n_other - 0.5 - self.offset) / self.slope])
        first, last = int(np.ceil(max(low, a))), int(np.floor(min(high, b)))
        return (first, last + 1) if last >= first else (0, 0)

    def length(self, shape: tuple[int, ...]) -> float:
        """Return how long it is inside an image, pixels."""
        first, after = self.span(shape)
        return (after - first) * self.stretch

    @property
    def stretch(self) -> float:
        """Length per step of the main axis; a step of the other axis is 1 / stretch off the line."""
        return float(np.hypot(1, self.slope))


@dataclass(frozen=True)
class Cells:
    """An image in coarse cells: signal in local sigmas, 0 where nothing is known; 1 where something is."""

    signal: Image
    known: Image
    cell: int


def bin_cells(image: Image, mask: Mask, bits: int, noise: Mesh, config: LineSearchConfig) -> Cells:
    """Return the cells of an image.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32
        Background subtracted.
    mask : numpy.ndarray (ny, nx), uint16
    bits : int
        A pixel with any of them is left out; so is one that is not finite.
    noise : Mesh
        1 sigma of blank sky, in the unit of the image.
    config : LineSearchConfig

    Raises
    ------
    ValueError
        If shapes do not agree.
    """
    if not image.shape == mask.shape == noise.shape:
        raise ValueError(f"image, mask and noise of {image.shape}, {mask.shape} and {noise.shape} pixels")
    rows = MeshRows.of(noise)
    shape = (-(-image.shape[0] // config.cell), -(-image.shape[1] // config.cell))
    total, count = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    _sum_cells(
        image,
        mask,
        np.uint16(bits),
        rows.across,
        rows.node,
        rows.weight,
        np.float32(config.pixel_clip),
        config.cell,
        total,
        count,
    )
    known = (count >= config.cell**2 / 4).astype(np.float32)
    signal = known * total / np.sqrt(np.maximum(count, 1))
    share = np.maximum(uniform_filter(known, config.smooth_cells, mode="constant"), 1e-3)
    signal -= uniform_filter(signal, config.smooth_cells, mode="constant") / share
    signal *= known
    scatter = np.sqrt(uniform_filter(signal**2, config.smooth_cells, mode="constant") / share)
    signal = np.clip(signal / np.maximum(scatter, 0.5), -config.cell_clip, config.cell_clip)
    return Cells(np.ascontiguousarray(signal, np.float32), known, config.cell)


@compiled(
    "void(f4[:, ::1], u2[:, ::1], u2, f4[:, ::1], i8[::1], f4[::1], f4, i8, f4[:, ::1], f4[:, ::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
    fastmath={"contract", "reassoc", "nsz", "arcp"},
)
def _sum_cells(
    image: Image,
    mask: Mask,
    bits: int,
    across: Image,
    node: NDArray[np.int64],
    weight: Image,
    clip: np.float32,
    cell: int,
    total: Image,
    count: Image,
) -> None:
    ny, nx = image.shape
    one, zero = np.float32(1), np.float32(0)
    value, good = np.zeros(total.shape[1] * cell, np.float32), np.zeros(total.shape[1] * cell, np.float32)
    for y in range(ny):
        lower, upper, w = across[node[y]], across[node[y] + 1], weight[y]
        for x in range(nx):
            z = image[y, x] / (lower[x] + w * (upper[x] - lower[x]))
            is_good = (not mask[y, x] & bits) & (abs(z) < np.float32(1e30))
            value[x] = min(max(z, -clip), clip) if is_good else zero
            good[x] = one if is_good else zero
        row_total, row_count = total[y // cell], count[y // cell]
        for j in range(total.shape[1]):
            a, b = zero, zero
            for k in range(j * cell, (j + 1) * cell):
                a += value[k]
                b += good[k]
            row_total[j] += a
            row_count[j] += b


def strongest_line(cells: Cells, config: LineSearchConfig) -> tuple[Line, float]:
    """Return the line with the most signal and its significance in sigmas of all lines.

    Parameters
    ----------
    cells : Cells
    config : LineSearchConfig
    """
    best, found = -np.inf, Line(is_steep=False, offset=0.0, slope=0.0)
    for is_steep in (False, True):
        # Columns become rows of memory, so that all offsets of a line are next to each other.
        turned = [part if is_steep else part.T for part in (cells.signal, cells.known)]
        for is_falling in (False, True):
            signal, known = (np.ascontiguousarray(p[:, ::-1] if is_falling else p) for p in turned)
            sums, counts = radon(signal), radon(known)
            peak = _peak(sums, counts, config)
            if peak[0] <= best:
                continue
            best, slope_index, start = peak
            n, n_other = len(sums), signal.shape[1]
            slope, offset = slope_index / max(n - 1, 1), start - n
            if is_falling:
                slope, offset = -slope, n_other - 1 - offset
            middle = (cells.cell - 1) / 2
            found = Line(is_steep, cells.cell * offset + middle * (1 - slope), slope)
    return found, best


def _peak(sums: Image, counts: Image, config: LineSearchConfig) -> tuple[float, int, float]:
    """Return significance, index of slope and offset of the highest peak; sums (n, offsets)."""
    best = (-np.inf, 0, 0.0)
    for width in (width for width in config.widths if width <= sums.shape[1]):
        least = np.float32(width * config.least_length_px / config.cell / 2)
        # Wider bands share stars between neighbouring lines: each width has a scatter of its own.
        some, n = (_bands(a[::8], width) for a in (sums, counts))
        sample = np.abs(some[n > least]) / np.sqrt(n[n > least])
        if not sample.size:
            continue
        value, row, start = _highest(sums, counts, width, least)
        value /= max(SIGMA_PER_MAD * float(np.median(sample)), 1.0)
        if value > best[0]:
            best = (value, row, start + (width - 1) / 2)
    return best


def _bands(a: Image, width: int) -> Image:
    """Return sums of `width` neighbours along the rows, (n, m - width + 1)."""
    m = a.shape[1] - width + 1
    out = a[:, :m].copy()
    for k in range(1, width):
        out += a[:, k : k + m]
    return out


@compiled("Tuple((f8, i8, i8))(f4[:, ::1], f4[:, ::1], i8, f4)", cache=True, nogil=True, fastmath=True)
def _highest(sums: Image, counts: Image, width: int, least: np.float32) -> tuple[float, int, int]:
    """Return the largest sum over its square-rooted count, of bands of lines; and its row and place."""
    best, best_row, best_place = np.float32(0), 0, 0
    m = sums.shape[1] - width + 1
    value = np.empty(m, np.float32)
    zero, one = np.float32(0), np.float32(1)
    for row in range(sums.shape[0]):
        high = zero
        for i in range(m):
            total, count = sums[row, i], counts[row, i]
            for k in range(i + 1, i + width):
                total += sums[row, k]
                count += counts[row, k]
            # The square with its sign is ordered as the ratio is, without a root.
            value[i] = total * abs(total) / max(count, one) if count > least else zero
        for i in range(m):
            high = max(high, value[i])
        if high > best:
            best, best_row, best_place = high, row, int(np.argmax(value))
    return np.sqrt(best), best_row, best_place


def radon(columns: Image) -> Image:
    """Return the sums along all lines that rise by 0 to N - 1 from the first column to the last.

    Parameters
    ----------
    columns : numpy.ndarray (nx, ny), float32
        The image, transposed. N is the power of two not below nx; missing columns count as zero.

    Returns
    -------
    numpy.ndarray (N, ny + N), float32
        Element (s, i): the line at row i - N in the first column and at row i - N + s in column N - 1.
    """
    n = 1 << max(len(columns) - 1, 0).bit_length()
    work = np.zeros((2, n, columns.shape[1] + n), np.float32)
    work[0, : len(columns), n:] = columns
    return work[_add_pairs(work)]


@compiled("i8(f4[:, :, ::1])", cache=True, nogil=True, fastmath=True)
def _add_pairs(work: Image) -> int:
    """Combine blocks of columns two by two until one is left; return which half of `work` holds the sums."""
    n, width = work.shape[1], work.shape[2]
    source, size = 0, 1
    while size < n:
        for block in range(0, n, 2 * size):
            for rise in range(2 * size):
                first = work[source, block + rise // 2]
                second = work[source, block + size + rise // 2]
                out = work[1 - source, block + rise]
                shift = (rise + 1) // 2
                for i in range(width - shift):
                    out[i] = first[i] + second[i + shift]
                for i in range(width - shift, width):
                    out[i] = first[i]
        source, size = 1 - source, 2 * size
    return source
