"""The path of the LASSO from a Gram matrix, exact where channels depend on each other, too."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rethinklab.errors import PlanError

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

ROUNDING = 1e-11  # share of a channel's energy, or of the largest product, taken for rounding
FLOOR = 1e-9  # of the largest product: a pull below it is none
OPTIMAL = 1e-6  # of the largest product: how far a solution may be from the conditions
STEPS = 50  # knots a channel, after which the path is given up


def lasso_knots(gram: Floats, cross: Floats) -> Iterator[tuple[float, Floats]]:
    """(pull, beta (C,)) at each knot of the path of 1/2 ||y - Z beta||^2 + pull ||beta||_1, from
    beta = 0 to pull = 0.

    gram: (C, C), Z^T Z. cross: (C,), Z^T y. Between knots beta is a line: channels whose product
    with the residual equals the pull move so that it stays equal. Where several reach it at once,
    or depend on each other, those that must move are found by non-negative least squares, and of
    equal channels one alone is used. Raises PlanError where rounding breaks the path off.
    Source: Osborne et al. (IMA J. Numer. Anal. 2000); Efron et al. (Ann. Stat. 2004), section 3.
    """
    from scipy.linalg import cho_solve

    largest = float(np.abs(cross).max(initial=0.0))
    pull, beta, active = largest, np.zeros(len(cross)), ActiveSet(gram)
    yield pull, beta.copy()
    for _ in range(STEPS * len(cross) + 1):
        if pull <= FLOOR * largest:
            return
        residual = cross - gram[:, active.places] @ beta[active.places]
        tied = np.setdiff1d(np.flatnonzero(np.abs(residual) >= pull - ROUNDING * largest),
                            active.places)
        active.admit(tied, np.sign(residual))
        places, signs = active.places, np.sign(residual[active.places])
        off = residual[places] - pull * signs  # what rounding has left, corrected on the way
        correction, slope = cho_solve((active.factor, True), np.stack([off, signs], 1),
                                      check_finite=False).T
        falls = gram[:, places] @ slope  # of the residual's products, for each unit of the pull
        step = _next_event(pull, beta, residual, places, slope, falls, tied)
        pull -= step
        beta[places] += correction + step * slope
        if pull <= FLOOR * largest:
            pull = 0.0
        left = places[beta[places] * signs <= 0]
        beta[left] = 0.0
        active.dismiss(left)
        yield pull, beta.copy()
    raise _beyond_rounding(len(cross))


class ActiveSet:
    """The channels whose coefficients move, with the Cholesky factor of their Gram matrix."""

    def __init__(self, gram: Floats) -> None:
        self.gram = gram
        self.places: Places = np.zeros(0, np.intp)
        self._root: Floats = np.zeros((0, 0))

    @property
    def factor(self) -> Floats:
        size = len(self.places)
        return self._root[:size, :size]

    def admit(self, tied: Places, signs: Floats) -> None:
        """Add those of the `tied` channels that must move; signs: of all channels' products."""
        from scipy.linalg import solve_triangular
        from scipy.optimize import nnls

        across = solve_triangular(self.factor, self.gram[np.ix_(self.places, tied)], lower=True,
                                  check_finite=False)
        energy = self.gram[tied, tied]
        free = energy - (across**2).sum(0) > ROUNDING * energy
        tied, across = tied[free], across[:, free]
        # min 1/2 z^T A z - q^T z over z >= 0, what those that move already do being eliminated
        known = solve_triangular(self.factor, signs[self.places], lower=True, check_finite=False)
        own = signs[tied]
        table = (self.gram[np.ix_(tied, tied)] - across.T @ across) * own[:, None] * own
        values, vectors = np.linalg.eigh(table)
        whole = values > ROUNDING * values.max(initial=0.0)
        root = np.sqrt(values[whole])[:, None] * vectors[:, whole].T
        wanted = (vectors[:, whole].T @ (1 - own * (across.T @ known))) / np.sqrt(values[whole])
        try:
            speed = nnls(root, wanted)[0] if len(root) else np.zeros(len(tied))
        except RuntimeError as error:  # it goes round in circles
            raise _beyond_rounding(len(self.gram)) from error
        for place in tied[speed > 0]:
            self._append(place)

    def _append(self, place: np.intp) -> None:
        from scipy.linalg import solve_triangular

        size = len(self.places)
        row = solve_triangular(self.factor, self.gram[self.places, place], lower=True,
                               check_finite=False)
        left = self.gram[place, place] - row @ row
        if left <= ROUNDING * self.gram[place, place]:
            return
        if size == len(self._root):  # grown by doubling
            grown = np.zeros((2 * size + 1, 2 * size + 1))
            grown[:size, :size] = self.factor
            self._root = grown
        self._root[size, :size], self._root[size, size] = row, np.sqrt(left)
        self.places = np.append(self.places, place)

    def dismiss(self, left: Places) -> None:
        """Take out the channels whose coefficients have come back to zero."""
        if len(left):
            self.places = self.places[~np.isin(self.places, left)]
            try:
                among = self.gram[np.ix_(self.places, self.places)]
                self._root = np.asarray(np.linalg.cholesky(among), np.float64)
            except np.linalg.LinAlgError as error:
                raise _beyond_rounding(len(self.gram)) from error


def _next_event(pull: float, beta: Floats, residual: Floats, places: Places, slope: Floats,
                falls: Floats, tied: Places) -> float:
    """How far the pull falls until a coefficient becomes zero or another channel is tied."""
    with np.errstate(divide="ignore", invalid="ignore"):
        above, below = (pull - residual) / (1 - falls), (pull + residual) / (1 + falls)
        home = -beta[places] / slope
    above[falls >= 1], below[falls <= -1] = np.inf, np.inf
    above[places], below[places] = np.inf, np.inf
    above[tied[residual[tied] > 0]] = np.inf  # they stay tied, or fall behind
    below[tied[residual[tied] < 0]] = np.inf
    home[(beta[places] == 0) | ~(home > 0)] = np.inf
    return float(min(pull, above.min(), below.min(), home.min(initial=np.inf)))


def is_optimal(gram: Floats, cross: Floats, pull: float, beta: Floats) -> bool:
    """Whether `beta` solves the LASSO: the product of each channel with the residual is the pull
    in the direction of its coefficient, or no larger where that is zero."""
    products = cross - gram @ beta
    off = np.where(beta != 0, np.abs(products - pull * np.sign(beta)), np.abs(products) - pull)
    return bool(off.max(initial=0.0) <= OPTIMAL * np.abs(cross).max(initial=0.0))


def _beyond_rounding(channels: int) -> PlanError:
    return PlanError(f"the LASSO over {channels} channels cannot be solved to a relative "
                     f"{OPTIMAL:g}: the channels depend on each other too closely for double "
                     "precision; use more images, or method thinet.")
