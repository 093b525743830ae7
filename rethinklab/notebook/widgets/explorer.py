"""Controls over a picture: `Explorer` draws a pure view anew whenever a control moves."""

from __future__ import annotations

import base64
import gc
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from io import BytesIO
from typing import Any

import ipywidgets
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imsave

from rethinklab.errors import ConfigError, RethinkError
from rethinklab.figures.style import PaperFigure, paper_style

DPI = 110  # of a picture on a screen
REMEMBERED = 32  # pictures that come back without being drawn again
LABEL, CONTROL = "8.5em", "34em"  # widths of a control's name, and of all of it
LIVE = "application/vnd.jupyter.widget-view+json"
Text: Any = type(ipywidgets.DOMWidget.tooltip)  # a string that the browser's side has too
NAME = "Picture of the values chosen above; its caption follows"

View = Callable[..., PaperFigure]
Options = Sequence[Any] | Mapping[str, Any]


class Picture(ipywidgets.Image):
    """An image with a name for screen readers, its `tooltip`.

    description: always empty. The browser's side of `tooltip` reads it from every widget, and an
    Image has none, which makes it fail.
    """

    description = Text("").tag(sync=True)


class Explorer:
    """A picture under controls, for a notebook: end a cell with it.

    view: from the values of the controls, as keyword arguments, to a figure. It must be pure:
    equal values give equal figures, so the last ones are kept. controls: by argument, each with a
    description. Where there is no kernel, readers see the picture as it was when the cell ran,
    with its caption. What a view raises as RethinkError is shown as text in place of the picture.

    widget: all of it. picture, words: its parts. caption: the words as plain text. note: where
    the numbers are from, as the picture says at its foot.
    """

    def __init__(self, view: View, controls: Mapping[str, ipywidgets.ValueWidget]) -> None:
        unnamed = [name for name, control in controls.items() if not control.description]
        if unnamed:
            raise ConfigError(f"control {unnamed[0]!r} of an explorer needs a description.")
        self.view, self.controls = view, dict(controls)
        self._drawn: OrderedDict[tuple[Any, ...], tuple[bytes, str, str]] = OrderedDict()
        self.picture = Picture(format="png", tooltip=NAME,
                               layout={"max_width": "100%", "align_self": "flex-start"})
        self.words = ipywidgets.HTML()
        self.caption = self.note = ""
        self.widget = ipywidgets.VBox([*self.controls.values(), self.picture, self.words])
        for control in self.controls.values():
            control.observe(lambda change: self.update(), "value")
        self.update()

    @property
    def values(self) -> dict[str, Any]:
        """What the controls say now, by argument of the view."""
        return {name: control.value for name, control in self.controls.items()}

    def update(self) -> None:
        """Show the view of the values that the controls have now."""
        try:
            image, self.caption, self.note = self.draw(**self.values)
        except RethinkError as error:
            image, self.caption, self.note = b"", str(error), ""
        self.picture.layout.display = "" if image else "none"
        if image:
            self.picture.value = image
        self.words.value = f'<div role="status" aria-live="polite">{escape(self.caption)}</div>'

    def draw(self, **values: Any) -> tuple[bytes, str, str]:
        """The view of those values as PNG, its caption and its note; drawn once, then
        remembered."""
        key = tuple(values[name] for name in self.controls)
        if key not in self._drawn:
            with _uncollected():
                self._drawn[key] = png(self.view(**values))
            if len(self._drawn) > REMEMBERED:
                self._drawn.popitem(last=False)
        self._drawn.move_to_end(key)
        return self._drawn[key]

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        """The live widget, which front ends prefer, and beside it picture and caption for readers
        without a kernel."""
        live: Any = self.widget._repr_mimebundle_()
        data: dict[str, Any] = {"text/plain": self.caption, LIVE: live[LIVE]}
        about: dict[str, Any] = {}
        if self.picture.layout.display != "none":
            data["image/png"] = base64.b64encode(self.picture.value).decode()
            about = {"image/png": {"alt": self.caption, "note": self.note}}
        return data, about


def png(figure: PaperFigure) -> tuple[bytes, str, str]:
    """A figure for the screen, its caption and its note.

    `savefig` draws twice, the first time for a layout that it then holds fast.
    """
    buffer = BytesIO()
    with paper_style():
        figure.set_dpi(DPI)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    imsave(buffer, canvas.buffer_rgba(), format="png",
           metadata={"Software": None})  # type: ignore[dict-item]
    return buffer.getvalue(), figure.caption, figure.note


@contextmanager
def _uncollected() -> Iterator[None]:
    """Put garbage collection off to the end, where it takes milliseconds: figures are full of
    cycles, and those that grow old wait for a full collection, which a reader would notice."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
            gc.collect(1)


def slider(name: str, options: Options, value: Any = None, costly: bool = False) -> Any:
    """A slider over given values. options: values, or by the text that stands for each. costly:
    the picture waits until the slider rests."""
    return ipywidgets.SelectionSlider(options=_pairs(options), value=_first(options, value),
                                      continuous_update=not costly, **_looks(name))


def number(name: str, least: int, most: int, value: int | None = None,
           costly: bool = False) -> Any:
    """A slider over whole numbers, both ends included."""
    return ipywidgets.IntSlider(min=least, max=most, value=least if value is None else value,
                                continuous_update=not costly, **_looks(name))


def choice(name: str, options: Options, value: Any = None) -> Any:
    """A list to choose one of many from."""
    return ipywidgets.Dropdown(options=_pairs(options), value=_first(options, value),
                               **_looks(name))


def buttons(name: str, options: Options, value: Any = None) -> Any:
    """Buttons to choose one of few with."""
    made = ipywidgets.ToggleButtons(options=_pairs(options), value=_first(options, value),
                                    **_looks(name))
    made.style.button_width = "auto"
    return made


def _pairs(options: Options) -> list[tuple[str, Any]]:
    items: Iterable[tuple[Any, Any]] = (options.items() if isinstance(options, Mapping) else
                                        ((option, option) for option in options))
    pairs = [(str(text), value) for text, value in items]
    if not pairs:
        raise ConfigError("a control of an explorer needs at least one value to choose.")
    return pairs


def _first(options: Options, value: Any) -> Any:
    """The value given, or the first."""
    return _pairs(options)[0][1] if value is None else value


def _looks(name: str) -> dict[str, Any]:
    return {"description": name, "style": {"description_width": LABEL},
            "layout": {"width": CONTROL, "max_width": "100%"}}
