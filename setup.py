"""Everything the package index needs to know is in settings.ini; this reads it, and builds the native engine.

The engine is built where there is a C compiler. It is plain shared libraries, one an instruction set, in
textgen/_native/; they are loaded with ctypes and know nothing of Python, so one wheel serves every Python 3. How they
are compiled is in csrc/variants.py.
"""

import os
import sys
from configparser import ConfigParser
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).parent / "csrc"))
import variants  # noqa: E402

cfg = ConfigParser(delimiters=["="])
cfg.read("settings.ini", encoding="utf-8")
cfg = cfg["DEFAULT"]
extras = {k.removesuffix("_requirements"): cfg[k].split() for k in cfg if k.endswith("_requirements")}
extras["all"] = sorted({o for k, v in extras.items() if k != "dev" for o in v})


class BuildNative(build_ext):
    """Compiles each variant that this machine's compiler can make. Whatever fails, the package installs without it,
    and that is said once."""

    def get_ext_filename(self, name):
        *folders, isa = name.split(".")
        return str(Path(*folders, variants.file_name(isa)))

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def get_export_symbols(self, ext):
        return []

    def build_extensions(self):
        self.problems = {}
        super().build_extensions()
        if not self.problems:
            return
        what = f"the native engine lacks {', '.join(self.problems)}"
        if len(self.problems) == len(self.extensions):
            what = "installed without the native engine: everything works, and generates more slowly"
        print(f"textgen: {what}. Reason: {next(iter(self.problems.values()))}", file=sys.stderr, flush=True)

    def build_extension(self, ext):
        isa, to = ext.name.rpartition(".")[2], Path(self.get_ext_fullpath(ext.name))
        to.unlink(missing_ok=True)  # what an earlier build left
        try:
            variants.build(isa, to.parent)
        except (variants.CannotBuild, OSError) as e:
            self.problems[isa] = str(e)

    def copy_extensions_to_source(self):
        "For an installation that is edited in place; what an earlier one left goes."
        Path("textgen/_native").mkdir(exist_ok=True)
        for p in Path("textgen/_native").glob("*.so"):
            p.unlink()
        super().copy_extensions_to_source()


class AnyPython(bdist_wheel):
    "A wheel for this platform, and for every Python 3."

    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    keywords=cfg["keywords"],
    author=cfg["author"],
    url=cfg["git_url"],
    license="MIT",
    long_description=Path("README.md").read_text(encoding="utf-8") if Path("README.md").exists() else "",
    long_description_content_type="text/markdown",
    packages=find_packages(include=["textgen", "textgen.*"]),
    package_data={"textgen": ["py.typed", "*.pyi", "bundled/*", "bundled/*/*"]},
    ext_modules=[
        Extension(f"textgen._native.{isa}", [f"csrc/{p.name}" for p in variants.SOURCES], optional=True)
        for isa in variants.variants()
    ],
    cmdclass={"build_ext": BuildNative, "bdist_wheel": AnyPython},
    python_requires=f">={cfg['min_python']}",
    install_requires=cfg["requirements"].split(),
    extras_require=extras,
    entry_points={"console_scripts": cfg["console_scripts"].split("\n")},
    zip_safe=False,
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Programming Language :: Python :: 3",
        "Topic :: Text Processing :: Linguistic",
    ],
)
