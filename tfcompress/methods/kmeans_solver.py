"""Finds the borders between the clusters of points on a line, many lines at a time.

The optimum is a dynamic programme over all places where a border may be, whose cost
grows with the square of their number. Here each border chooses among few places, and
all borders choose together: first among cuts of its own and its neighbours' clusters,
so that in one pass a cluster can vanish in one place, another arise elsewhere and
all between them move along; then among places ever closer to it. Passes are repeated
until no border moves. Unlike Lloyd's iteration this leaves the local optima in which a
cluster is missing here and wasted there, and needs tens of passes, not hundreds.

Borders start where clusters would stand if they were as dense as the cube root of the
points' density, which is right for many clusters of a smooth density.

Source: Wang and Song, Ckmeans.1d.dp, R Journal 3/2 (2011), for the dynamic programme;
Panter and Dite, Quantization distortion in pulse-count modulation with nonuniform
spacing of levels, Proc. IRE 39 (1951), for the cube root.
"""

import dataclasses

import numpy as np

_MAX_PASSES = 50  # 10 to 30 are usual, 256 clusters of heavy tails the most
_NUM_ROUNDS = 2  # after the borders settled, a cluster may be better placed elsewhere
_COARSE_REACH = 2  # clusters to each side
_FINE_REACH = 8  # places to each side
# Float64 values of a table of costs, small enough for a core's cache.
_MAX_TABLE = 1 << 17


def best_centroids(points, masses, num_clusters, num_parts):
    """Returns the means of the clusters with the least squared error, row by row.

    Args:
        points: float64 array, shape `(rows, n)`, each row ascending with a mean near
            zero, n greater than `num_clusters`.
        masses: float64 array, shape `(rows, n)`, at least 0: how much the squared error
            of a point counts; not all 0 in a row.
        num_clusters: int, at least 1.
        num_parts: int: into how many parts a cluster is cut to find new borders. More
            find better ones and take longer, by the square of it.
    Returns:
        float64 array, shape `(rows, num_clusters)`, ascending. Where a cluster is empty
        its neighbour's mean is repeated.
    """
    result = np.empty((len(points), num_clusters))
    width = max(2 * _COARSE_REACH * num_parts, 2 * _FINE_REACH) + 1
    num_rows = max(1, _MAX_TABLE // width**2)
    for begin in range(0, len(points), num_rows):
        rows = slice(begin, begin + num_rows)
        line = _Line.of(points[rows], masses[rows])
        borders = _first_borders(points[rows], masses[rows], num_clusters)
        for _ in range(_NUM_ROUNDS if num_clusters > 1 else 0):
            borders = _choose_among_cuts(line, borders, num_parts)
            borders = _choose_nearby(line, borders)
        result[rows] = line.means(borders)
    return result


@dataclasses.dataclass(frozen=True)
class _Line:
    """Sums over the points before a place, from which those of any cluster follow.

    Attributes:
        mass, moment: float64 arrays, shape `(rows, n + 1)`: of the points before place
            0 ... n their masses, and their masses times their values.
    """

    mass: np.ndarray
    moment: np.ndarray

    @classmethod
    def of(cls, points, masses):
        first = np.zeros((len(points), 1))
        return cls(
            np.concatenate([first, np.cumsum(masses, axis=1)], axis=1),
            np.concatenate([first, np.cumsum(masses * points, axis=1)], axis=1),
        )

    @property
    def num_points(self):
        return self.mass.shape[1] - 1

    def rows(self, chosen):
        """The line of some of the rows."""
        if len(chosen) == len(self.mass):
            return self
        return _Line(self.mass[chosen], self.moment[chosen])

    def at(self, places):
        """Both sums at places of shape `(rows, borders, m)`, rows last."""
        flat = places.reshape(len(places), -1)
        shape = places.shape[1:]
        return (
            np.ascontiguousarray(np.take_along_axis(sums, flat, 1).T).reshape(
                *shape, -1
            )
            for sums in (self.mass, self.moment)
        )

    def means(self, borders):
        """Means of the clusters; of an empty one its neighbour's."""
        edges = _edges(borders, self.num_points)
        mass = np.diff(np.take_along_axis(self.mass, edges, 1))
        moment = np.diff(np.take_along_axis(self.moment, edges, 1))
        means = np.full(mass.shape, np.nan)
        np.divide(moment, mass, out=means, where=mass > 0)
        means = np.fmax.accumulate(means, axis=1)  # ascending: NaN takes the last one
        return np.fmin.accumulate(means[:, ::-1], axis=1)[:, ::-1]


def _edges(borders, num_points):
    """Returns the borders with the two ends of the line."""
    first = np.zeros((len(borders), 1), np.int64)
    return np.concatenate([first, borders, first + num_points], axis=1)


def _first_borders(points, masses, num_clusters):
    """Returns places that share out the cube root of the density evenly."""
    num_points = points.shape[1]
    numbers = np.arange(1, num_clusters)
    # The integral of cbrt(mass / gap) over a gap.
    gaps = np.diff(points, axis=1)
    shares = np.cbrt(gaps**2 * (masses[:, 1:] + masses[:, :-1]))
    rising = np.cumsum(shares, axis=1)
    borders = np.empty((len(points), num_clusters - 1), np.int64)
    for row, line in enumerate(rising):
        borders[row] = 1 + np.searchsorted(line, numbers / num_clusters * line[-1])
    # No cluster starts without a point.
    borders = np.maximum.accumulate(borders - numbers, axis=1) + numbers
    return np.minimum(borders, num_points - num_clusters + numbers)


def _choose_among_cuts(line, borders, num_parts):
    """Moves borders to cuts of the clusters around them, until none moves."""
    num_clusters = borders.shape[1] + 1
    reach = np.arange(-_COARSE_REACH * num_parts, _COARSE_REACH * num_parts + 1)
    own = np.arange(1, num_clusters)[:, None] * num_parts
    numbers = np.clip(own + reach, 0, num_clusters * num_parts)

    def propose(borders, _):
        edges = _edges(borders, line.num_points)
        sizes = np.diff(edges)[:, :, None]
        inner = edges[:, :-1, None] + sizes * np.arange(num_parts) // num_parts
        cuts = np.append(inner.reshape(len(edges), -1), edges[:, -1:], axis=1)
        return cuts[:, numbers]

    return _repeat(line, borders, propose)


def _choose_nearby(line, borders):
    """Moves borders in steps that shrink from parts of a cluster to one point."""
    reach = np.arange(-_FINE_REACH, _FINE_REACH + 1)
    divisor = 2 * _FINE_REACH
    while True:
        sizes = np.diff(_edges(borders, line.num_points))
        steps = np.maximum(np.minimum(sizes[:, 1:], sizes[:, :-1]) // divisor, 1)

        def propose(borders, rows, steps=steps):
            places = borders[:, :, None] + steps[rows][:, :, None] * reach
            return np.clip(places, 0, line.num_points)

        borders = _repeat(line, borders, propose)
        if (steps == 1).all():
            return borders
        divisor *= _FINE_REACH


def _repeat(line, borders, propose):
    """Lets the borders of each row choose among what is proposed, until they stay."""
    borders = borders.copy()
    rows = np.arange(len(borders))
    for _ in range(_MAX_PASSES):
        old = borders[rows]
        borders[rows] = _choose(line.rows(rows), propose(old, rows))
        rows = rows[(borders[rows] != old).any(axis=1)]
        if not rows.size:
            break
    return borders


def _choose(line, places):
    """Returns the best borders that can be made of proposed places.

    Args:
        line: `_Line`.
        places: int64 array, shape `(rows, borders, m)`, ascending along the last axis.
    Returns:
        int64 array, shape `(rows, borders)`.
    """
    mass, moment = line.at(places)
    num_borders, rows = len(mass), np.arange(len(places))
    best = np.empty_like(mass)  # of the points before a place, shape (borders, m, rows)
    best[0] = _cost(mass[0], moment[0])
    for this in range(1, num_borders):
        last = this - 1
        cost = _cost(
            mass[this] - mass[last][:, None], moment[this] - moment[last][:, None]
        )
        cost += best[last][:, None]
        np.minimum.reduce(cost, axis=0, out=best[this])
    end_mass, end_moment = line.mass[:, -1], line.moment[:, -1]
    chosen = np.empty((len(places), num_borders), np.int64)
    for this in reversed(range(num_borders)):
        cost = _cost(end_mass - mass[this], end_moment - moment[this]) + best[this]
        pick = cost.argmin(axis=0)
        chosen[:, this] = places[rows, this, pick]
        end_mass, end_moment = mass[this, pick, rows], moment[this, pick, rows]
    return chosen


def _cost(mass, moment):
    """Returns what clusters add to the squared error, less what all divisions share.

    A cluster that ends before it begins costs infinitely much, an empty one nothing.
    """
    cost = moment * moment
    if mass.min() > 0:
        cost /= mass
        return np.negative(cost, out=cost)
    cost /= np.where(mass > 0, mass, 1.0)
    np.negative(cost, out=cost)
    cost[mass < 0] = np.inf
    return cost
