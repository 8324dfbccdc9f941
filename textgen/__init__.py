"Turn your own text into a model that writes. Names are imported when first used, so `import textgen` costs nothing."
__version__ = "0.1.0"

_homes = {  # the module in which each public name lives
    "api": "TextGen",
    "core": "TextGenError CorpusError TokenizerError CacheError TaskError ModelError TrainError GenerateError VerifyError "
            "ExportError",
    "receipt": "Receipt",
    "settings": "GenerateSettings TrainSettings",
    "text.corpus": "documents bundled Document",
    "text.tokenizer": "train_tokenizer",
    "text.pretrained": "load_tokenizer",
    "text.dataset": "TokenDataset",
    "tasks.task": "Task",
    "tasks.mixture": "Mixture",
    "sharing.keep": "Samples Sample",
    "training.trainer": "Run",
    "trust.verify": "verify Verdict",
}
_names = {name: home for home, names in _homes.items() for name in names.split()}
__all__ = [*_names]


def __getattr__(name):
    from importlib import import_module
    if name in _names:
        from textgen.settings import explain_parameters
        return explain_parameters(getattr(import_module(f"textgen.{_names[name]}"), name))
    if not name.startswith("_"):
        try: return import_module(f"textgen.{name}")
        except ModuleNotFoundError as e:
            if e.name != f"textgen.{name}": raise
    raise AttributeError(f"module 'textgen' has no attribute {name!r}")


def __dir__(): return sorted([*globals(), *_names])
