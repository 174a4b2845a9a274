"""Inline SVG charts: the drawn points are where the numbers say."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from ast_jax.export.curves import line_chart, nice_ticks


def drawn_lines(markup: str) -> list[np.ndarray]:
    """The polylines of the chart, ``[n, 2]`` pixels each, one per unbroken run."""
    svg = ElementTree.fromstring(markup[: markup.index("</svg>") + 6])
    runs = []
    for path in svg.iter("path"):
        if path.get("stroke-width"):
            for run in path.get("d").split("M")[1:]:
                runs.append(np.array([[float(n) for n in p.split()] for p in run.split("L")]))
    return runs


def test_line_goes_through_the_points():
    x, y = [0, 10, 20, 30], [1.0, 3.0, 2.0, 5.0]
    (line,) = drawn_lines(line_chart({"loss": (x, y)}))
    # an affine map from data to pixels: right is right, up is up, proportions are kept
    slope_x, slope_y = (line[-1] - line[0]) / np.array([30, 4.0])
    assert slope_x > 0 > slope_y
    np.testing.assert_allclose(line[:, 0], line[0, 0] + slope_x * np.array(x), atol=0.06)
    np.testing.assert_allclose(line[:, 1], line[0, 1] + slope_y * (np.array(y) - 1), atol=0.06)


def test_logarithmic_axis_makes_an_exponential_straight():
    x = np.arange(50)
    (line,) = drawn_lines(line_chart({"loss": (x, 10.0 ** (-x / 10))}, log_y=True))
    steps = np.diff(line[:, 1])
    np.testing.assert_allclose(steps, steps.mean(), atol=0.11)


def test_gap_where_a_number_is_not_finite():
    runs = drawn_lines(line_chart({"loss": ([0, 1, 2, 3, 4], [1, 2, float("nan"), 2, 1])}))
    assert [len(run) for run in runs] == [2, 2]


def test_not_a_single_finite_number_is_said():
    assert "No finite values" in line_chart({"loss": ([0, 1], [float("nan")] * 2)})
    assert "No finite values" in line_chart({})


def test_long_series_are_thinned_but_keep_their_ends():
    (line,) = drawn_lines(line_chart({"loss": (np.arange(100_000), np.linspace(1, 0, 100_000))}))
    assert len(line) <= 600
    assert line[0, 1] < 30 and line[-1, 1] > 230


@pytest.mark.parametrize("value", [0.0, 1e-9, -5.0, 1e9])
def test_constant_curve(value):
    (line,) = drawn_lines(line_chart({"loss": ([3, 4], [value, value])}))
    assert np.isfinite(line).all()


def test_names_are_escaped():
    markup = line_chart({"<script>": ([0, 1], [0, 1])}, x_label="a & b")
    assert "<script>" not in markup and "&lt;script&gt;" in markup and "a &amp; b" in markup


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.2, 17), (1e-6, 3e-6), (0, 123456), (-1e5, -9.9e4)])
def test_ticks_are_round_and_inside(low, high):
    ticks = nice_ticks(low, high)
    assert 3 <= len(ticks) <= 11
    assert low - 1e-9 * abs(low) <= ticks[0] and ticks[-1] <= high * (1 + 1e-9 * np.sign(high))
    step = f"{ticks[1] - ticks[0]:.0e}"
    assert re.match(r"[125]e", step), step


def test_unequal_lengths_name_the_series():
    with pytest.raises(ValueError, match="'loss'"):
        line_chart({"loss": ([0, 1, 2], [0, 1])})
