"""Bar charts and tables from `results/*.json`, for the page of benchmarks."""

import json
import statistics
import textwrap

from record import RESULTS

OURS, PEER, WANTED = "#2f6fb0", "#b9bec5", "#c0392b"
SETS = ("avx512", "avx2", "default", "neon")  # what `record.here` puts behind the name of a result
# Of this library, although its name is not there.
OWN = ("after", "now", "giving way", "written", "verified", "float32", "bfloat16", "int8")
FLOORS = ("import torch",)  # what everybody does first: no competitor


def load(name, folder=RESULTS):
    "The content of a result."
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def names(folder=RESULTS):
    "The results there are."
    return sorted(p.stem for p in folder.glob("*.json"))


def base(name):
    "The benchmark that a result is of, on whatever machine: `generate` for `generate_avx2`."
    begin, _, end = name.rpartition("_")
    return begin if begin and end in SETS else name


def each(name, folder=RESULTS):
    "The results of a benchmark, one for each kind of machine on which it ran; those of AVX-512 first."
    found = [load(n, folder) for n in names(folder) if base(n) == name]
    return sorted(found, key=lambda o: o["machine"]["instruction_set"] != "AVX512")


def is_ours(row):
    "Whether a figure is of this library."
    return row["by"].startswith("textgen") or row["by"] in OWN


def works(content, words=""):
    "The figures of a result by work, in order: what -> rows."
    found = {}
    for row in content["measurements"]:
        if words in row["what"]:
            found.setdefault(row["what"], []).append(row)
    return found


def median(row):
    "The middle of the repetitions."
    return statistics.median(row["repetitions"])


def where(content):
    "What was measured where, when and how, in a line of Markdown."
    m, v = content["machine"], content["versions"]
    place = ", ".join(str(o) for o in (m["gpu"], m["processor"], m["instruction_set"]) if o) or "not recorded"
    cores = f", {m['cores']} cores" if m["cores"] else ""
    made = ", ".join(f"{k} {v[k]}" for k in ("python", "torch", "transformers") if k in v)
    command = f"`{content['command']}`" if content["command"] else "command not recorded"
    runs = max(len(o["repetitions"]) for o in content["measurements"])
    each = f"{runs} run{'s' * (runs > 1)}" if content["date"] else "single runs not recorded"
    return f"*{place}{cores}; {made}; {content['date'] or 'day not recorded'}; {each}; {command}.*"


def bars(ax, what, rows):
    "One chart: a bar for each who did the work, its repetitions as dots, limit and target as lines."
    rows = rows[::-1]
    for y, row in enumerate(rows):
        ours = row.get("ours", is_ours(row))
        ax.barh(y, median(row), color=OURS if ours else PEER, height=0.7)
        if len(row["repetitions"]) > 1:
            ax.plot(row["repetitions"], [y] * len(row["repetitions"]), ".", color="black", markersize=3)
        if "limit" in row:
            ax.plot([row["limit"]] * 2, [y - 0.4, y + 0.4], color="black", linestyle=":", linewidth=1.5)
        if "wanted" in row:
            ax.plot([row["wanted"]] * 2, [y - 0.4, y + 0.4], color=WANTED, linewidth=2)
        box = dict(facecolor="white", edgecolor="none", alpha=0.8, pad=0.5)
        ax.annotate(
            figure(row), (median(row), y), (3, 0), textcoords="offset points", va="center", fontsize=8, bbox=box
        )
    ax.set_yticks(range(len(rows)), [o["by"] for o in rows])
    better = "more" if rows[0]["better"] == "more" else "less"
    unit = "" if what.endswith(rows[0]["unit"]) else f": {rows[0]['unit']}"
    title = f"{what}{unit} ({better} is better)"
    ax.set_title(textwrap.fill(title, 60), loc="left", fontsize=9)
    ax.xaxis.set_major_formatter(lambda x, _: f"{x:,g}")
    ax.margins(x=0.18)
    ax.spines[["top", "right"]].set_visible(False)


def charts(found):
    "A chart for each work, one below the other; `found`: title -> rows."
    import matplotlib.pyplot as plt

    heights = [len(rows) * max(1 + o["by"].count("\n") for o in rows) + 1.2 for rows in found.values()]
    page, axes = plt.subplots(
        len(found), 1, figsize=(7, 0.3 * sum(heights)), height_ratios=heights, squeeze=False, dpi=80
    )
    for ax, (what, rows) in zip(axes[:, 0], found.items()):
        bars(ax, what, rows)
        ax.tick_params(labelsize=8)
    page.tight_layout()
    return page


def draw(content, words="", but=""):
    "The charts of a result whose work has these words in it, and not those."
    return charts({w: rows for w, rows in works(content, words).items() if not but or but not in w})


def draw_each(name, words="", but="", folder=RESULTS):
    "The charts of a benchmark on every kind of machine on which it ran."
    found = {}
    for content in each(name, folder):
        kind = content["machine"]["instruction_set"]
        for what, rows in works(content, words).items():
            if not but or but not in what: found[f"{kind}, {what}"] = rows
    return charts(found)


def together(content, words="", but=""):
    "Several works in one chart, a bar for each, where only one library does them; a chart for each unit."
    found = {}
    for row in content["measurements"]:
        if words in row["what"] and not (but and but in row["what"]):
            label = textwrap.fill(row["what"].removesuffix(", memory"), 44)
            found.setdefault(f"{content['title']}, {row['unit']}", []).append(dict(row, by=label, ours=True))
    return charts(found)


def curves(content, of, xlabel, ylabel):
    "Lines in place of bars, for figures against a size; `of`: row -> name of the line and place on it, or None."
    import matplotlib.pyplot as plt

    found = {}
    for row in content["measurements"]:
        if place := of(row): found.setdefault(place[0], []).append((place[1], median(row)))
    page, ax = plt.subplots(figsize=(7, 3), dpi=80)
    for name, points in found.items(): ax.plot(*zip(*sorted(points)), marker="o", markersize=3, label=name)
    ax.set(xscale="log", xlabel=xlabel, ylabel=ylabel)
    ax.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    ax.spines[["top", "right"]].set_visible(False)
    page.tight_layout()
    return page


def best(rows):
    "The best of several figures."
    pick = max if rows[0]["better"] == "more" else min
    return pick(rows, key=median)


def compared(what, rows):
    "How the best of ours stands to the best of the others: (what, ours, theirs, ratio), or None without both."
    ours = [o for o in rows if is_ours(o)]
    peers = [o for o in rows if not is_ours(o) and o["by"] not in FLOORS]
    if not ours or not peers:
        return None
    a, b = best(ours), best(peers)
    ratio = median(a) / median(b) if a["better"] == "more" else median(b) / median(a)
    return what, a, b, ratio


def ratios(content):
    "What became of each kind of work, as a Markdown table; the last column above 1 is better."
    lines = ["| work | before | now | ratio |", "|---|---|---|---|"]
    for what, rows in works(content).items():
        _, a, b, ratio = compared(what, rows)
        shown = f"{ratio:.2f}" if ratio >= 1 else f"**{ratio:.2f}**"
        lines.append(f"| {what}, {a['unit']} | {figure(b)} | {figure(a)} | {shown} |")
    return "\n".join(lines)


def misses(folder=RESULTS):
    "Where somebody else is better, or what was asked for was not reached, as a Markdown table."
    lines = ["| work | ours | the better one, or what was asked for |", "|---|---|---|"]
    for name in names(folder):
        for what, rows in works(load(name, folder)).items():
            found = compared(what, rows)
            if found and found[3] < 1:
                _, a, b, _ = found
                lines.append(f"| {name}: {what} | {said(a)} | {said(b)} |")
            for row in rows:
                short = "wanted" in row and (median(row) < row["wanted"]) == (row["better"] == "more")
                if short:
                    asked = said(dict(row, by="asked for", repetitions=[row["wanted"]]))
                    lines.append(f"| {name}: {what} | {said(row)} | {asked} |")
    return "\n".join(lines)


def figure(row):
    "The middle of the repetitions as text."
    value = median(row)
    return f"{value:,.0f}" if value >= 100 else f"{value:.4g}"


def said(row):
    "A figure in words."
    return f"{row['by']}: {figure(row)} {row['unit']}"
