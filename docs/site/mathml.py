"""Formulas as MathML, which browsers draw by themselves: nothing is fetched, no script runs."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx

SIZES = re.compile(r"\\[Bb]igg?(?![A-Za-z])")  # brackets grow by themselves


def show(self: Any, node: nodes.Node) -> None:
    """Write an inline formula."""
    self.body.append(tex2mathml(SIZES.sub("", node.astext())))
    raise nodes.SkipNode


def show_block(self: Any, node: nodes.Node) -> None:
    """Write a formula on a line of its own, which scrolls where the screen is narrow."""
    formula = tex2mathml(SIZES.sub("", node.astext()), as_block=True)
    self.body.append(f'<div class="formula">{formula}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_html_math_renderer("mathml", inline_renderers=(show, None),
                               block_renderers=(show_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
