"""--html: what --json holds as one page that needs nothing else: no script, no font, no other file.

A section of a suite is a table, and below it a chart for each of its rows; what belongs to a curve is drawn as one, on two
logarithmic axes. Colours are properties of the page, so that the charts follow its light or dark scheme.
"""

import html
from pathlib import Path

import machine
from charts import bars, curve
from rows import SLUICE, number_text

STYLE = Path(__file__).with_name("report.css")
COLUMNS = ("", "median", "lowest to highest", "server CPU", "client CPU", "memory", "sluice / peer")
MIB = 1 << 20


def write(path, told, legend):
    with open(path, "w", encoding="utf-8") as file:
        file.write(page(told, legend))


def page(told, legend):
    title = f"{told['version']} beside its peers"
    parts = [f"<h1>{text(title)}</h1>", about(told), f"<p>{text(legend)}</p>", navigation(told)]
    parts += [suite_part(name, rows, told["notes"].get(name, [])) for name, rows in told["suites"].items()]
    return (f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{text(title)}</title>\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n" + "\n".join(parts) + "\n</body>\n</html>\n")


def text(value):
    return html.escape(str(value))


def about(told):
    rounds = f"{told['pairs']} rounds" if told["pairs"] > 1 else "1 round"
    if told["quick"]:
        rounds += ", quick: small files, which show that all works, not how fast"
    versions = ", ".join(f"{name} {version or 'not installed'}" for name, version in told["versions"].items())
    facts = {"machine": machine.as_line(told["machine"]), "measured": f"medians of {rounds}", "peers and clients": versions}
    return "<dl>" + "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in facts.items()) + "</dl>"


def navigation(told):
    return "<nav>" + " ".join(f'<a href="#{text(name)}">{text(name)}</a>' for name in told["suites"]) + "</nav>"


def suite_part(name, rows, notes):
    parts = [f'<h2 id="{text(name)}">{text(name)}</h2>']
    for section in dict.fromkeys(row["section"] for row in rows):
        parts += section_parts(section, [row for row in rows if row["section"] == section])
    parts += [f"<p>{text(note)}</p>" for note in notes]
    return "<section>\n" + "\n".join(parts) + "\n</section>"


def section_parts(section, rows):
    yield f"<h3>{text(section)}</h3>"
    points = [row for row in rows if row["curve"]]
    figures = [bars(row) for row in rows if not row["curve"]]
    figures += [curve(title, [row for row in points if row["curve"]["title"] == title])
                for title in dict.fromkeys(row["curve"]["title"] for row in points)]
    yield '<div class="charts">\n' + "\n".join(filter(None, figures)) + "\n</div>"
    yield table(rows)


def table(rows):
    head = "".join(f"<th>{text(column)}</th>" for column in COLUMNS)
    return (f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n'
            + "\n".join(line for row in rows for line in lines(row)) + "\n</tbody>\n</table></div>")


def lines(row):
    yield f'<tr class="row" id="{text(row["key"])}"><th colspan="{len(COLUMNS)}">{text(row["title"])} [{text(row["unit"])}]</th></tr>'
    for name, cell in row["peers"].items():
        yield cell_line(row, name, cell)


def cell_line(row, name, cell):
    mark = ' class="ours"' if name == SLUICE else ""
    if not cell.get("samples"):
        reason = f"failed: {cell['failed']}" if cell["failed"] else f"skipped: {cell['skipped']}"
        return f'<tr{mark}><td>{text(name)}</td><td colspan="{len(COLUMNS) - 1}" class="none">{text(reason)}</td></tr>'
    figures = [sample["figure"] for sample in cell["samples"]]
    unit, cpu = row["unit"], cell["cpu_unit"]
    values = [number_text(cell["median"], unit), f"{number_text(min(figures), unit)} to {number_text(max(figures), unit)}",
              with_unit(cell["server_cpu"], cpu), with_unit(cell["client_cpu"], cpu),
              "-" if cell["memory_bytes"] is None else f"{cell['memory_bytes'] / MIB:.1f} MiB",
              "" if name == SLUICE or cell["sluice_ratio"] is None else f"{cell['sluice_ratio']:.2f}"]
    return f"<tr{mark}><td>{text(name)}{text_of_trouble(cell)}</td>" + "".join(f"<td>{text(value)}</td>" for value in values) + "</tr>"


def text_of_trouble(cell):
    trouble = cell["failed"] or cell["skipped"]
    return f' <span class="none">then: {text(trouble)}</span>' if trouble else ""


def with_unit(value, unit):
    return "-" if value is None else f"{value:.3g} {unit}"
