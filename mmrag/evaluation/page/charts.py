"""Plots of a report as inline SVG: shares as stacked bars, means with their intervals as dots with whiskers.

Places are percentages, so that a plot takes the width it is given and its marks keep their shape; colours are
classes of the style sheet, for light and dark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmrag.evaluation.page.markup import Html, join, tag

BAR_HEIGHT, WHISKER_HEIGHT = 26, 18


def stacked_bar(title: str, counts: Mapping[str, int], classes: Mapping[str, str]) -> Html:
    """Return counts as shares of a bar, with a legend that names and counts each.

    Args:
        title: of the bar.
        counts: by name, in order; zeros are left out.
        classes: style of each name.
    """
    total = sum(counts.values())
    parts, labels, start = [], [], 0.0
    for name, count in counts.items():
        if count:
            width = 100 * count / total
            parts.append(
                tag(
                    "rect",
                    x=f"{start:.3f}%",
                    y=0,
                    width=f"{width:.3f}%",
                    height=BAR_HEIGHT,
                    class_=classes[name],
                )
            )
            start += width
            swatch = tag(
                "svg",
                tag("rect", width=12, height=12, class_=classes[name]),
                width=12,
                height=12,
                aria_hidden="true",
            )
            labels.append(
                tag("li", swatch, " ", f"{name}: ", tag("b", count), f" ({100 * count / total:.0f} %)")
            )
    description = "; ".join(f"{name}: {count} of {total}" for name, count in counts.items() if count)
    bar = tag(
        "svg",
        *parts,
        width="100%",
        height=BAR_HEIGHT,
        role="img",
        aria_label=f"{title}. {description}",
        class_="bar-plot",
    )
    return tag("div", tag("h3", title), bar, tag("ul", *labels, class_="legend"), class_="plot")


def whisker(mean: float, low: float, high: float, *, before: float | None = None) -> Html:
    """Return a mean and its interval on 0..1, and an earlier mean as a mark below."""
    middle = WHISKER_HEIGHT // 2
    marks: list[Html] = [
        tag("line", x1=f"{share}%", x2=f"{share}%", y1=0, y2=WHISKER_HEIGHT, class_="grid")
        for share in (0, 25, 50, 75, 100)
    ]
    marks.append(
        tag("line", x1=f"{100 * low:.2f}%", x2=f"{100 * high:.2f}%", y1=middle, y2=middle, class_="reach")
    )
    if before is not None:
        marks.append(
            tag(
                "line",
                x1=f"{100 * before:.2f}%",
                x2=f"{100 * before:.2f}%",
                y1=2,
                y2=WHISKER_HEIGHT - 2,
                class_="before",
            )
        )
    marks.append(tag("circle", cx=f"{100 * mean:.2f}%", cy=middle, r=4, class_="mean"))
    return tag("svg", join(marks), width="100%", height=WHISKER_HEIGHT, aria_hidden="true", class_="whisker")


def change_plot(gains: Sequence[float]) -> Html:
    """Return the changes of all questions, sorted, as bars from a line; the largest fills the height."""
    height, width = 90, max(1, len(gains))
    most = max((abs(gain) for gain in gains), default=0.0) or 1.0
    bars = [
        tag(
            "rect",
            x=f"{position + 0.1:.2f}",
            y=f"{-gain / most if gain > 0 else 0:.3f}",
            width="0.8",
            height=f"{abs(gain) / most:.3f}",
            class_="better" if gain > 0 else "worse",
        )
        for position, gain in enumerate(sorted(gains, reverse=True))
        if gain
    ]
    better, worse = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    same_count = len(gains) - better - worse
    label = f"Change of nDCG@5 by question: {better} better, {worse} worse, {same_count} the same"
    return tag(
        "svg",
        tag("line", x1=0, x2=width, y1=0, y2=0, class_="reach"),
        *bars,
        viewBox=f"0 -1 {width} 2",
        preserveAspectRatio="none",
        width="100%",
        height=height,
        role="img",
        aria_label=label,
        class_="change-plot",
    )
