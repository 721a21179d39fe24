"""What of a picture's words is cut, or covers other words: read from matplotlib's renderer."""

from matplotlib.text import Text

from gauntlet.sims.plots.fit import extent, labels_of, overlap, parts, quad

_SLACK = 1.0  # pixels


def written(figure):
    """Yield (what it is, its corners, the legend that it stands in) of every text that is seen."""
    legends = {id(t): legend for p in parts(figure) for legend in p.legends for t in legend.findobj(Text)}
    legends |= {
        id(t): axes.get_legend() for axes in figure.get_axes() if axes.get_legend()
        for t in axes.get_legend().findobj(Text)
    }  # fmt: skip
    ticks = {id(t) for a in figure.get_axes() for axis in (a.xaxis, a.yaxis) for t in axis.findobj(Text)}
    ticks -= {id(label) for a in figure.get_axes() for label in (a.xaxis.label, a.yaxis.label)}
    drawn = [t for a in figure.get_axes() if a.get_visible() and a.axison for x in (a.xaxis, a.yaxis)
             for t in labels_of(x)]  # fmt: skip
    others = [t for t in figure.findobj(Text) if id(t) not in ticks and t.get_visible()]
    hidden = {id(t) for a in figure.get_axes() if not (a.get_visible() and a.axison) for t in a.findobj(Text)}
    for text in [*drawn, *others]:
        if text.get_text().strip() and id(text) not in hidden:
            yield text.get_text(), quad(text), id(legends.get(id(text)))


def crowding(figure):
    """Return in words what is cut and what covers what; nothing of a picture that can be read."""
    figure.set_dpi(300)  # as it is saved
    figure.draw_without_rendering()
    width, height = figure.bbox.width, figure.bbox.height
    found, shown = [], list(written(figure))
    for name, corners, _ in shown:
        (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
        if x0 < -_SLACK or y0 < -_SLACK or x1 > width + _SLACK or y1 > height + _SLACK:
            found.append(f"cut: {name!r}")
    for place, (name, corners, legend) in enumerate(shown):
        for other, others, other_legend in shown[place + 1 :]:
            if legend == other_legend != id(None):
                continue
            if overlap(corners, others, -_SLACK):
                found.append(f"{name!r} covers {other!r}")
    for part in parts(figure):
        found += [f"a legend takes {extent(one).height / height:.2f} of the height" for one in part.legends
                  if extent(one).height > 0.5 * height]  # fmt: skip
    return found
