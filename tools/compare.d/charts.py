"""Charts as SVG inside of a page: bars for one row, a curve on two logarithmic axes. Colours are classes of report.css."""

import html
import math

from rows import LESS_IS_BETTER, number_text

WIDTH = 360
BAR_HEIGHT, BAR_GAP, NAME_WIDTH, VALUE_WIDTH = 14, 6, 92, 62
PLOT = {"left": 52, "right": 100, "top": 10, "bottom": 40}
PLOT_HEIGHT = 240
LABEL_HEIGHT = 12
# Colours of report.css: a peer has the same in all curves; peers that never meet may share one.
LINE_OF = {"sluice": 0, "backing": 1, "page-cache": 1, "nginx": 1, "bindfs": 2, "mergerfs": 3, "rclone": 4}
LINE_OF_OTHERS = 5


def text(value):
    return html.escape(str(value))


def figure(title, unit, drawing, height, description):
    hint = "less is better" if unit in LESS_IS_BETTER + ("points",) else "more is better"
    return (f'<figure><figcaption>{text(title)} <span>{text(unit)}, {hint}</span></figcaption>'
            f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{text(description)}">{drawing}</svg></figure>')


def medians(row):
    return {name: cell["median"] for name, cell in row["peers"].items() if cell.get("samples")}


# ---- bars ----


def bars(row):
    """One for each peer, from zero; None: nobody was measured."""
    values = medians(row)
    if not values:
        return None
    most = max(values.values()) or 1
    drawn = "".join(bar(place, name, value, max(0.0, value) / most, row["unit"])
                    for place, (name, value) in enumerate(values.items()))
    told = ", ".join(f"{name} {number_text(value, row['unit'])}" for name, value in values.items())
    return figure(row["title"], row["unit"], drawn, len(values) * (BAR_HEIGHT + BAR_GAP), told)


def bar(place, name, value, share, unit):
    top, room = place * (BAR_HEIGHT + BAR_GAP), WIDTH - NAME_WIDTH - VALUE_WIDTH
    width = max(1.0, share * room)
    kind = "ours" if name == "sluice" else "theirs"
    middle = top + BAR_HEIGHT - 3
    return (f'<text x="{NAME_WIDTH - 6}" y="{middle}" class="name">{text(name)}</text>'
            f'<rect x="{NAME_WIDTH}" y="{top}" width="{width:.1f}" height="{BAR_HEIGHT}" rx="2" class="{kind}"/>'
            f'<text x="{NAME_WIDTH + width + 5:.1f}" y="{middle}">{number_text(value, unit)}</text>')


# ---- curves ----


def curve(title, rows):
    """A line for each peer. What is zero has no place on a logarithmic axis and is left out."""
    lines = {}
    for row in rows:
        for name, value in medians(row).items():
            if value > 0:
                lines.setdefault(name, []).append((row["curve"]["at"], value))
    if not lines:
        return None
    across = Axis([at for row in rows for at in [row["curve"]["at"]]], PLOT["left"], WIDTH - PLOT["right"])
    up = Axis([value for points in lines.values() for _, value in points], PLOT_HEIGHT - PLOT["bottom"], PLOT["top"])
    drawn = [grid(across, up, rows[0]["curve"]["axis"])]
    places = label_places({name: up.place(points[-1][1]) for name, points in lines.items()})
    for name, points in lines.items():
        drawn.append(line(name, points, across, up, LINE_OF.get(name, LINE_OF_OTHERS), places[name]))
    told = "; ".join(f"{name}: " + ", ".join(f"{at:g}: {value:.3g}" for at, value in points) for name, points in lines.items())
    return figure(title, rows[0]["unit"], "".join(drawn), PLOT_HEIGHT, told)


class Axis:
    """Logarithmic, from one power of ten or of two to another, so that all values have a place."""

    def __init__(self, values, start, end):
        self._base = 10 if max(values) / min(values) > 40 else 2
        first = math.floor(math.log(min(values), self._base) + 1e-9)
        last = max(first + 1, math.ceil(math.log(max(values), self._base) - 1e-9))
        self._start, self._end, self._first, self._last = start, end, first, last
        self.ticks = [float(self._base) ** power for power in range(first, last + 1)]

    def place(self, value):
        share = (math.log(value, self._base) - self._first) / (self._last - self._first)
        return self._start + share * (self._end - self._start)


def grid(across, up, name):
    left, right, bottom = PLOT["left"], WIDTH - PLOT["right"], PLOT_HEIGHT - PLOT["bottom"]
    drawn = []
    for tick in up.ticks:
        y = up.place(tick)
        drawn.append(f'<path d="M{left} {y:.1f}H{right}" class="grid"/><text x="{left - 6}" y="{y + 4:.1f}" class="name">{tick_text(tick)}</text>')
    for tick in across.ticks:
        x = across.place(tick)
        drawn.append(f'<path d="M{x:.1f} {PLOT["top"]}V{bottom}" class="grid"/>'
                     f'<text x="{x:.1f}" y="{bottom + 15}" class="below">{tick_text(tick)}</text>')
    drawn.append(f'<text x="{(left + right) / 2}" y="{PLOT_HEIGHT - 6}" class="below">{text(name)}</text>')
    return "".join(drawn)


def tick_text(tick):
    for least, letter in ((1e6, "M"), (1e3, "k")):
        if tick >= least:
            return f"{tick / least:.3g}{letter}"
    return f"{tick:.3g}"


def line(name, points, across, up, number, label_at):
    places = [(across.place(at), up.place(value)) for at, value in points]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{text(name)}, {at:g}: {value:.3g}</title></circle>'
                   for (x, y), (at, value) in zip(places, points))
    end_x, end_y = places[-1]
    label_x = WIDTH - PLOT["right"] + 12
    return (f'<g class="line line{number}"><path d="{path}"/>{dots}<path d="M{end_x + 4:.1f} {end_y:.1f}L{label_x - 3} {label_at - 4:.1f}" '
            f'class="leader"/><text x="{label_x}" y="{label_at:.1f}">{text(name)}</text></g>')


def label_places(wanted):
    """Beside the ends of their lines, but not one above the other."""
    placed, least = {}, PLOT["top"]
    for name in sorted(wanted, key=wanted.get):
        placed[name] = max(wanted[name] + 4, least)
        least = placed[name] + LABEL_HEIGHT
    over = max(0, least - LABEL_HEIGHT - (PLOT_HEIGHT - PLOT["bottom"]))
    return {name: place - over for name, place in placed.items()}
