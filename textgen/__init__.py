"Turn your own text into a model that writes. Names are imported when they are first used, so `import textgen` costs nothing."
__version__ = "0.1.0"

_names = dict(
    TextGen="api", Run="trainer", TokenDataset="dataset", Task="task", Mixture="task", train_tokenizer="tokenizer", load_tokenizer="tokenizer",
    documents="corpus", bundled="corpus", Document="corpus", Receipt="receipt", GenerateSettings="settings", TrainSettings="settings",
    Samples="generation", Sample="generation", TextGenError="core", CorpusError="core", TokenizerError="core", CacheError="core",
    TaskError="core", ModelError="core", TrainError="core", GenerateError="core", VerifyError="core", ExportError="core",
)
__all__ = [*_names]


def __getattr__(name):
    from importlib import import_module
    if name in _names: return getattr(import_module(f"textgen.{_names[name]}"), name)
    if not name.startswith("_"):
        try: return import_module(f"textgen.{name}")
        except ModuleNotFoundError as e:
            if e.name != f"textgen.{name}": raise
    raise AttributeError(f"module 'textgen' has no attribute {name!r}")


def __dir__(): return sorted([*globals(), *_names])
