"""What is wrong with a drawn figure, measured on its text as a printer would see it."""

from __future__ import annotations

import itertools

from rethinklab.figures.style import paper_style

SLACK = 1.0  # pixels at 150 dpi


def problems(figure):
    """What is wrong with the text of a figure, in words; empty where nothing is."""
    with paper_style():
        figure.draw_without_rendering()
    renderer = figure._get_renderer()
    found, page = [], figure.bbox
    boxes = {text: text.get_window_extent(renderer) for text in shown_texts(figure)}
    for text, box in boxes.items():
        if (box.x0 < page.x0 - SLACK or box.x1 > page.x1 + SLACK
                or box.y0 < page.y0 - SLACK or box.y1 > page.y1 + SLACK):
            found.append(f"{text.get_text()!r} leaves the page")
        if text.get_fontsize() < 6:
            found.append(f"{text.get_text()!r} is smaller than 6 points")
    for note in figure.texts:  # at the foot
        place = note.get_window_extent(renderer)
        found += [f"the note covers {text.get_text()!r}" for text, box in boxes.items()
                  if text is not note and place.overlaps(box)]
    for axes in figure.axes:
        if not axes.axison or not axes.get_visible():
            continue
        for axis in (axes.xaxis, axes.yaxis):
            labels = tick_labels(axis)
            for one, other in itertools.pairwise(labels):
                if cross(one, other, renderer):
                    found.append(f"tick labels {one.get_text()!r} and {other.get_text()!r} overlap")
    found += nameless(figure)
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    titles = [axes.title for axes in figure.axes if axes.title.get_text()]
    for legend in figure.legends:
        for title in titles:
            if legend.get_window_extent(renderer).overlaps(title.get_window_extent(renderer)):
                found.append(f"the legend covers the title {title.get_text()!r}")
    for legend in legends:
        if not any(text.get_text() for text in legend.get_texts()):
            found.append("a legend has no text")
    return found


def nameless(figure):
    """The axes with numbers that no name stands at: their own, that of a panel beside, above or
    below that shares the scale, or one of the whole figure."""
    found = []
    panels = [axes for axes in figure.axes if axes.axison and axes.get_visible()]
    for which, whole in (("x", figure.get_supxlabel()), ("y", figure.get_supylabel())):
        for axes in panels:
            axis = getattr(axes, f"{which}axis")
            numbers = tick_labels(axis) and not words(axis)
            group = getattr(axes, f"get_shared_{which}_axes")().get_siblings(axes)
            near = [other for other in panels if which == "x" and same_column(axes, other)]
            if numbers and not whole and not any(
                    getattr(other, f"{which}axis").get_label_text()
                    for other in [axes, *group, *near]):
                found.append(f"an {which} axis with numbers has no name")
    return found


def same_column(one, other):
    """Whether two panels stand above one another."""
    a, b = one.get_position(), other.get_position()
    return abs(a.x0 - b.x0) < 0.02


def shown_texts(figure):
    """All text that is to be seen, without tick labels that lie outside the limits of an axis."""
    hidden = {label for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)
              for label in axis.get_ticklabels()} - {
                  label for axes in figure.axes if axes.axison
                  for axis in (axes.xaxis, axes.yaxis) for label in tick_labels(axis)}
    return [text for text in figure.findobj(match=lambda a: hasattr(a, "get_fontsize"))
            if text.get_visible() and text.get_text().strip() and text not in hidden]


def tick_labels(axis):
    """The tick labels inside the limits of an axis, in order of their places."""
    low, high = sorted(axis.get_view_interval())
    slack = 1e-9 * (high - low)
    return [label for place, label in sorted(
        zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=False), key=lambda pair: pair[0])
        if low - slack <= place <= high + slack and label.get_visible()
        and label.get_text().strip()]


def words(axis):
    """Whether the ticks are named by words, which say themselves what they are."""
    texts = [label.get_text() for label in tick_labels(axis)]
    return bool(texts) and all(any(c.isalpha() for c in text.replace("mathdefault", ""))
                               for text in texts)


def cross(one, other, renderer):
    """Whether two labels overlap; of slanted ones, whether their lines come too close."""
    a, b = one.get_window_extent(renderer), other.get_window_extent(renderer)
    if one.get_rotation() % 90 == 0:
        return bool(a.overlaps(b))
    apart = ((a.x1 - b.x1) ** 2 + (a.y1 - b.y1) ** 2) ** 0.5  # of the ends that are anchored
    return apart < 0.5 * one.get_fontsize() * one.figure.dpi / 72
