"Written by tools/stubs.py from the public names of the package; run: make export."
# ruff: noqa
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

__version__: str

class TextGen:
    """A model that writes, and its tokenizer; `ModelError` or `TokenizerError` where one cannot be opened. """
    quantize: Any
    scratch: Any
    found: Any
    receipt: Any
    def __init__(self, model=None, tokenizer=None, *, device='auto', dtype='auto', quantize=None, revision=None, trust_remote_code=False):
        """model: a folder or its address, a Hub id, or a transformers model; None: the bundled one
        tokenizer: a tokenizer or where one lies; None: the model's own
        device: where to generate: "auto", "cpu", "cuda", "mps"
        dtype: of the weights: "auto", "float32", "bfloat16", "float16"
        quantize: "int8": generate on a CPU with weights of 8 bits, several times as fast and nearly the same
        revision: of a Hub model
        trust_remote_code: let a Hub model bring its own code
        """
        ...

    @property
    def model(self):
        """The transformers model. """
        ...

    @property
    def kind(self):
        """"causal": the text continues itself; "seq2seq": an output answers an input. """
        ...

    @property
    def context(self):
        """Longest text the model can look at, in tokens. """
        ...

    @property
    def tokenizer(self):
        """The transformers tokenizer. """
        ...

    @classmethod
    def new(cls, preset, tokenizer, *, seed: int = 0, context: int | None = None, device='auto'):
        """A model with random weights; `ModelError` for a preset or context that there cannot be.

        preset: "mini", "small", "gpt2", "t5-mini" or "t5-small", or a transformers configuration
        tokenizer: a tokenizer, or where one lies
        seed: the same seed makes the same weights
        context: longest text it can look at, in tokens; None: the preset's
        device: where to generate
        """
        ...

    def to_gpu(self):
        """Generate on the GPU from now on; `ModelError` where torch can use none. """
        ...

    def to_cpu(self):
        """Generate on the CPU from now on. """
        ...

    def adapt(self):
        """Make the tokenizer lossless, and give the model rows for its new pieces; `TokenizerError` if that cannot be. """
        ...

    def train(self, data, *, view=None, device=None, steps: int | None = None, epochs: float | None = None, batch_size: int = 8, lr: float | None = None, save_to: str | None = None, overwrite: bool = False, save_every: int = 500, sample_every: int | None = None, seed: int = 0, resume: bool = False, accumulate: int = 1, window: int | None = None, windows: str = 'stream', precision: str = 'auto', optimizer: str = 'auto', schedule: str = 'auto', warmup: int | None = None, weight_decay: float | None = None, clip: float = 1.0, compile: str = 'auto', freeze: int = 0, lora: int | None = None, checkpointing: bool = False, validation: float = 0, validate_every: int | None = None, keep: int = 1, resume_state: bool = True, devices: str = 'auto', strategy: str = 'auto', loggers: tuple = (), callbacks: tuple = (), trainer: dict | None = None, control=None, by: str | None = None, column: str | None = None, template: str | None = None, encoding: str = 'utf-8', newlines: bool = True, where=None, quoting: str | None = None):
        """Train on `data`, in place; `TrainError` for a wrong setting, `CorpusError` or `TaskError` for wrong data.

        data: `TokenDataset`, token cache, text files, `Samples`, `Task`, `Mixture`, name of a task; or a list of these
        view: where progress is shown; None: one line
        device: where to train; None: on the best there is
        steps: updates of the weights; none given: as many as epochs need, else 1000
        epochs: how often the data is read, in place of steps
        batch_size: rows (windows of text) that are computed at once
        lr: learning rate, how far a step moves the weights; none given: from what is trained, and how
        save_to: folder for the model; none given: only in memory
        overwrite: replace another model that is in save_to
        save_every: steps between saves; 0 is only at the end
        sample_every: steps between samples; 0 is never; none given: four in a run, at least one in 500 steps
        seed: the same seed, data and machine give the same model
        resume: continue from the last save in save_to; "force" although something was changed
        accumulate: batches whose gradients make one step
        window: tokens the model reads at a time; none given: the model's context, at most 1024
        windows: anywhere in the "stream", from the beginning of a "document", or one document a "row"
        precision: numbers to compute with: "fp32", "bf16", "fp16"; auto: the fastest safe ones of this machine
        optimizer: "adamw" or "muon"; auto: muon from random weights
        schedule: of the learning rate: "linear", "cosine", "wsd" (warm up, stay, decay), "constant"
        warmup: steps in which the learning rate rises; none given: a twentieth of the run, at most 100
        weight_decay: what weights shrink by in a step, times lr; none given: 0.1, for LoRA 0
        clip: longest gradient, as the norm over all weights; 0 is no limit
        compile: torch.compile: True, False; auto: where the work ahead pays for it
        freeze: first layers that stay as they are, and with them the embeddings
        lora: train small matrices beside the weights, of this rank
        checkpointing: compute activations twice instead of keeping them: slower, less memory
        validation: share of the documents (of a single one: of its tokens) to hold out, to measure the loss on
        validate_every: steps between measurements, beside those at each save; none given: about twenty in a run
        keep: saves to keep; the older ones lie beside the folder
        resume_state: save also what resume needs
        devices: how many GPUs or processes: "auto" (one), "all" or a number
        strategy: on many devices: "ddp" (a copy on each) or "fsdp" (a part on each)
        loggers: Lightning loggers, or "csv", "tensorboard", "wandb"
        callbacks: Lightning callbacks of your own
        trainer: further arguments of Lightning's Trainer
        control: a `Control`, by which another thread can pause and stop
        by: "file", "line", "paragraph", "row", or what stands between documents; none given: by row or by file
        column: of a table: the column with the text
        template: of a table: a text over columns, such as "{title}\\n\\n{text}"
        encoding: of the files, unless they begin with a byte order mark; "detect" guesses
        newlines: make every kind of line end a newline
        where: a function of the text (of a table: of the row) that says whether to take it
        quoting: of a CSV or TSV: "none" where quotes are part of texts, "minimal" where they stand around them
        """
        ...

    def save(self, folder):
        """Write model, tokenizer and receipt as a plain transformers folder; `ModelError` where that cannot be.

        folder: where to, or an address; a model that is there is replaced
        """
        ...

    def merge(self):
        """Add a LoRA adapter to the weights, which makes it an ordinary model again. """
        ...

    def export(self, folder, to='onnx', *, precision=None) -> Path:
        """Write the model for another engine, with tokenizer and receipt; `ExportError` for what it cannot compute.

        folder: where to: a new folder, or one with an earlier export to this format
        to: "onnx": for onnxruntime and web pages; "gguf": for llama.cpp and Ollama
        precision: of onnx "fp32" or "int8", of gguf "f16" or "q8_0"; None: both
        """
        ...

    @property
    def engine(self):
        """The engine that would write a text now. """
        ...

    def generate(self, prompt='', data=None, *, n: int = 1, max_new_tokens: int = 100, min_new_tokens: int = 0, temperature: float = 0.7, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0, repetition_penalty: float = 1.0, no_repeat_ngram: int = 0, banned: tuple = (), stop: tuple = (), nonempty: bool = True, seed: int | None = None, batch_size: int | None = None, batch_invariant: bool = False, num_beams: int = 1, schema: str | None = None, novel_only: int | None = None) -> Samples:
        """Write texts that go on from `prompt`; `GenerateError` for a prompt or a setting that is wrong.

        prompt: what to go on from; empty begins a new text; a list of prompts: `n` texts for each
        data: what `novel_only` compares with: what the model has learned from
        n: texts to write
        max_new_tokens: longest text, in tokens
        min_new_tokens: no end of text before this many tokens
        temperature: divides the logits: below 1 safer, above 1 wilder, 0 the likeliest token always; also a list
        top_k: draw among the k likeliest tokens; 0 is all
        top_p: draw among the fewest tokens that reach this probability; 1 is all
        min_p: draw among tokens at least this likely, relative to the likeliest; 0 is all
        repetition_penalty: above 1 makes tokens that were there already less likely; 1 is none
        no_repeat_ngram: no run of this many tokens comes twice; 0 is never
        banned: words and characters that must not be written
        stop: strings at which a text ends; they are not part of it
        nonempty: try again where a text has nothing but blanks
        seed: the same seed gives the same texts; none given draws one
        batch_size: texts to write at the same time; none given chooses from memory
        batch_invariant: the same texts to the last bit, whatever n and batch_size
        num_beams: search this many beams for the likeliest text, instead of drawing
        schema: what the text must fit: a regular expression; in Python also a JSON schema, choices, fields
        novel_only: longest run of tokens that may be copied from the training data; none given: any
        """
        ...

    def generate_one(self, prompt: str = '', *, max_new_tokens: int = 100, min_new_tokens: int = 0, temperature: float = 0.7, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0, repetition_penalty: float = 1.0, no_repeat_ngram: int = 0, banned: tuple = (), stop: tuple = (), nonempty: bool = True, seed: int | None = None, batch_size: int | None = None, batch_invariant: bool = False, num_beams: int = 1, schema: str | None = None, novel_only: int | None = None) -> str:
        """Write one text and return it, prompt included, as a string; `GenerateError` as in `generate`.

        prompt: what to go on from
        max_new_tokens: longest text, in tokens
        min_new_tokens: no end of text before this many tokens
        temperature: divides the logits: below 1 safer, above 1 wilder, 0 the likeliest token always; also a list
        top_k: draw among the k likeliest tokens; 0 is all
        top_p: draw among the fewest tokens that reach this probability; 1 is all
        min_p: draw among tokens at least this likely, relative to the likeliest; 0 is all
        repetition_penalty: above 1 makes tokens that were there already less likely; 1 is none
        no_repeat_ngram: no run of this many tokens comes twice; 0 is never
        banned: words and characters that must not be written
        stop: strings at which a text ends; they are not part of it
        nonempty: try again where a text has nothing but blanks
        seed: the same seed gives the same texts; none given draws one
        batch_size: texts to write at the same time; none given chooses from memory
        batch_invariant: the same texts to the last bit, whatever n and batch_size
        num_beams: search this many beams for the likeliest text, instead of drawing
        schema: what the text must fit: a regular expression; in Python also a JSON schema, choices, fields
        novel_only: longest run of tokens that may be copied from the training data; none given: any
        """
        ...

    def stream(self, prompt: str = '', *, index: int = 0, data=None, max_new_tokens: int = 100, min_new_tokens: int = 0, temperature: float = 0.7, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0, repetition_penalty: float = 1.0, no_repeat_ngram: int = 0, banned: tuple = (), stop: tuple = (), nonempty: bool = True, seed: int | None = None, batch_size: int | None = None, batch_invariant: bool = False, num_beams: int = 1, schema: str | None = None, novel_only: int | None = None):
        """Write one text, piece by piece, never with half a character; `GenerateError` at once, as in `generate`.

        prompt: what to go on from
        index: number of the sample, from 0, as `generate` counts them
        data: with `novel_only` a stream is refused, since nothing can be taken back
        max_new_tokens: longest text, in tokens
        min_new_tokens: no end of text before this many tokens
        temperature: divides the logits: below 1 safer, above 1 wilder, 0 the likeliest token always; also a list
        top_k: draw among the k likeliest tokens; 0 is all
        top_p: draw among the fewest tokens that reach this probability; 1 is all
        min_p: draw among tokens at least this likely, relative to the likeliest; 0 is all
        repetition_penalty: above 1 makes tokens that were there already less likely; 1 is none
        no_repeat_ngram: no run of this many tokens comes twice; 0 is never
        banned: words and characters that must not be written
        stop: strings at which a text ends; they are not part of it
        nonempty: try again where a text has nothing but blanks
        seed: the same seed gives the same texts; none given draws one
        batch_size: texts to write at the same time; none given chooses from memory
        batch_invariant: the same texts to the last bit, whatever n and batch_size
        num_beams: search this many beams for the likeliest text, instead of drawing
        schema: what the text must fit: a regular expression; in Python also a JSON schema, choices, fields
        novel_only: longest run of tokens that may be copied from the training data; none given: any
        """
        ...

    def next_tokens(self, prompt: str = '', k: int = 10, after=()):
        """The `k` likeliest tokens after `prompt` and `after`, with probabilities; `GenerateError` for ids that are none.

        prompt: what to go on from
        k: how many tokens
        after: ids [n] that were written after the prompt, such as `sample.tokens[:5]`
        """
        ...

    def generate_samples(self, prompt: str = '', temperatures=(0.7, 1.0, 1.2), data=None, *, n: int = 1, max_new_tokens: int = 100, min_new_tokens: int = 0, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0, repetition_penalty: float = 1.0, no_repeat_ngram: int = 0, banned: tuple = (), stop: tuple = (), nonempty: bool = True, seed: int | None = None, batch_size: int | None = None, batch_invariant: bool = False, num_beams: int = 1, schema: str | None = None, novel_only: int | None = None):
        """The same prompt and seed at several temperatures; `GenerateError` as in `generate`.

        prompt: what to go on from
        temperatures: what to divide the logits by, one after the other; each 0 or more
        data: what `novel_only` compares with: what the model has learned from
        n: texts to write
        max_new_tokens: longest text, in tokens
        min_new_tokens: no end of text before this many tokens
        top_k: draw among the k likeliest tokens; 0 is all
        top_p: draw among the fewest tokens that reach this probability; 1 is all
        min_p: draw among tokens at least this likely, relative to the likeliest; 0 is all
        repetition_penalty: above 1 makes tokens that were there already less likely; 1 is none
        no_repeat_ngram: no run of this many tokens comes twice; 0 is never
        banned: words and characters that must not be written
        stop: strings at which a text ends; they are not part of it
        nonempty: try again where a text has nothing but blanks
        seed: the same seed gives the same texts; none given draws one
        batch_size: texts to write at the same time; none given chooses from memory
        batch_invariant: the same texts to the last bit, whatever n and batch_size
        num_beams: search this many beams for the likeliest text, instead of drawing
        schema: what the text must fit: a regular expression; in Python also a JSON schema, choices, fields
        novel_only: longest run of tokens that may be copied from the training data; none given: any
        """
        ...

    def generate_to_file(self, path=None, prompt='', *, n: int = 20, data=None, max_new_tokens: int = 100, min_new_tokens: int = 0, temperature: float = 0.7, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0, repetition_penalty: float = 1.0, no_repeat_ngram: int = 0, banned: tuple = (), stop: tuple = (), nonempty: bool = True, seed: int | None = None, batch_size: int | None = None, batch_invariant: bool = False, num_beams: int = 1, schema: str | None = None, novel_only: int | None = None):
        """Write texts to a file, with a receipt; what was stopped goes on where it was. `GenerateError` where that fails.

        path: .jsonl: JSON lines; an address; None: textgen-<seed>.txt. Its receipt is <path>.receipt.json
        prompt: what to go on from; a list of prompts: `n` texts for each
        n: texts to write
        data: what `novel_only` compares with: what the model has learned from
        max_new_tokens: longest text, in tokens
        min_new_tokens: no end of text before this many tokens
        temperature: divides the logits: below 1 safer, above 1 wilder, 0 the likeliest token always; also a list
        top_k: draw among the k likeliest tokens; 0 is all
        top_p: draw among the fewest tokens that reach this probability; 1 is all
        min_p: draw among tokens at least this likely, relative to the likeliest; 0 is all
        repetition_penalty: above 1 makes tokens that were there already less likely; 1 is none
        no_repeat_ngram: no run of this many tokens comes twice; 0 is never
        banned: words and characters that must not be written
        stop: strings at which a text ends; they are not part of it
        nonempty: try again where a text has nothing but blanks
        seed: the same seed gives the same texts; none given draws one
        batch_size: texts to write at the same time; none given chooses from memory
        batch_invariant: the same texts to the last bit, whatever n and batch_size
        num_beams: search this many beams for the likeliest text, instead of drawing
        schema: what the text must fit: a regular expression; in Python also a JSON schema, choices, fields
        novel_only: longest run of tokens that may be copied from the training data; none given: any
        """
        ...

    def evaluate(self, data, *, batch_size: int = 8, window: int | None = None, windows: str = 'stream', validation: float = 0.0, answers: int = 20, by: str | None = None, column: str | None = None, template: str | None = None, encoding: str = 'utf-8', newlines: bool = True, where=None, quoting: str | None = None):
        """The loss on `data` in nats per token, also by task, and bits per character; `TrainError` where there is no text.

        data: whatever `train` takes
        batch_size: rows at once
        window: tokens in a row; None: the model's context, at most 1024
        windows: as in training
        validation: share of the documents that training held out; 0 measures everything, or a task's own split
        answers: texts to write for a task that has metrics
        by: "file", "line", "paragraph", "row", or what stands between documents; none given: by row or by file
        column: of a table: the column with the text
        template: of a table: a text over columns, such as "{title}\\n\\n{text}"
        encoding: of the files, unless they begin with a byte order mark; "detect" guesses
        newlines: make every kind of line end a newline
        where: a function of the text (of a table: of the row) that says whether to take it
        quoting: of a CSV or TSV: "none" where quotes are part of texts, "minimal" where they stand around them
        """
        ...

    def memorization(self, samples, data, *, held_out=None):
        """How much of texts is copied, from where, and how much of real text is; `CacheError`: data of another tokenizer.

        samples: what `generate` gave, or a list of texts; a sample keeps the length of its longest run as `copied`
        data: what the model has learned from: a `TokenDataset`, a token cache, files of text, "poems" or "news"
        held_out: text that it has not learned from, to compare with; None: the data is compared with itself
        """
        ...

    def probabilities(self, text: str, k: int = 5):
        """How likely each token of a text is, and what else might stand there; `GenerateError`: beyond the context.

        text: read from its beginning; a seq2seq model reads it as an output
        k: alternatives for each token, the likeliest first
        """
        ...

    def push_to_hub(self, name: str, *, private: bool | None = None, license: str | None = None, prompts=(), data=None, held_out=None, token: str | None = None) -> str:
        """Send the model to the Hub, with a page made from its receipt; `ExportError` where the Hub says no.

        name: user/name, or a name of one's own
        private: only some may see it; None: a new one is for everybody, an old one stays as it is
        license: as the Hub calls it, such as "mit"; None: unknown
        prompts: for the page: what people may try it with
        data: what it was trained on; the page tells how much of it the model copies
        held_out: text that it was not trained on; the page tells the loss on it
        token: None: that of the person who is logged in
        """
        ...


class TextGenError(ValueError):
    """Something the user can put right; the message says how. """

class CorpusError(TextGenError):
    """The text could not be read. """

class TokenizerError(TextGenError):
    """The tokenizer could not be trained, loaded or used. """

class CacheError(TextGenError):
    """The token cache is damaged, foreign, or belongs to another tokenizer. """

class TaskError(TextGenError):
    """A task or mixture is not what it should be. """

class ModelError(TextGenError):
    """The model could not be made, found, loaded or saved. """

class TrainError(TextGenError):
    """Training cannot start or go on. """

class GenerateError(TextGenError):
    """These settings cannot generate. """

class VerifyError(TextGenError):
    """The receipt cannot be read. """

class ExportError(TextGenError):
    """The model could not be exported or published. """

class Receipt:
    """What happened, as plain data. """
    # fields
    kind: str
    content: dict = ...
    def __contains__(self, key):
        """ """
        ...

    def __getitem__(self, key):
        """ """
        ...

    def get(self, key: str, default=None):
        """The field `key`, or `default` where there is none.

        key: name of the field
        default: what there is in its place
        """
        ...

    def check(self, where='receipt'):
        """Raise `VerifyError` where a field is missing or of the wrong type; returns the receipt.

        where: what the error calls it, such as its path
        """
        ...

    def to_json(self) -> str:
        """The receipt as JSON text, a line for each field; `VerifyError` where one is missing. """
        ...

    def save(self, path, error=...) -> Path:
        """Write the receipt to `path`, whole or not at all.

        path: of the file
        error: what is raised where it cannot be written
        """
        ...

    @classmethod
    def load(cls, path) -> Receipt:
        """Read a receipt; `VerifyError` says what is wrong with one that cannot be read.

        path: the receipt's file
        """
        ...


class GenerateSettings:
    """How to generate; `GenerateError` for a value that is out of range. """
    # fields
    n: int = ...
    max_new_tokens: int = ...
    min_new_tokens: int = ...
    temperature: float = ...
    top_k: int = ...
    top_p: float = ...
    min_p: float = ...
    repetition_penalty: float = ...
    no_repeat_ngram: int = ...
    banned: tuple = ...
    stop: tuple = ...
    nonempty: bool = ...
    seed: int = ...
    batch_size: int = ...
    batch_invariant: bool = ...
    num_beams: int = ...
    schema: str = ...
    novel_only: int = ...

class TrainSettings:
    """How to train; `TrainError` for a value that is out of range. """
    # fields
    steps: int = ...
    epochs: float = ...
    batch_size: int = ...
    lr: float = ...
    save_to: str = ...
    overwrite: bool = ...
    save_every: int = ...
    sample_every: int = ...
    seed: int = ...
    resume: bool = ...
    accumulate: int = ...
    window: int = ...
    windows: str = ...
    precision: str = ...
    optimizer: str = ...
    schedule: str = ...
    warmup: int = ...
    weight_decay: float = ...
    clip: float = ...
    compile: str = ...
    freeze: int = ...
    lora: int = ...
    checkpointing: bool = ...
    validation: float = ...
    validate_every: int = ...
    keep: int = ...
    resume_state: bool = ...
    devices: str = ...
    strategy: str = ...
    loggers: tuple = ...
    callbacks: tuple = ...
    trainer: dict = ...
    control: Any = ...

def documents(sources, by=None, *, column=None, template=None, encoding='utf-8', newlines=True, where=None, quoting=None):
    """The documents in `sources`, in order; `CorpusError` names the file, line or row that cannot be read.

    sources: a path, folder, pattern or address, or a list of these
    by: "file", "line", "paragraph", "row", or the string between documents; None: "row" for tables, else "file"
    column: of a table: the column with the text
    template: of a table: a text over columns, such as "{title}\\n\\n{text}"
    encoding: of the files, unless they begin with a byte order mark; "detect" guesses
    newlines: make every kind of line end a "\\n"
    where: a function of the text (of a table: of the row as a dictionary) that says whether to take it
    quoting: of a CSV or TSV: "none" where quotes are part of the texts, "minimal" where they stand around them
    """
    ...

def bundled(name: str) -> Path:
    """The file of a bundled collection; `CorpusError` for a name that there is not.

    name: "poems" (title, form, text) or "news" (category, headline, body)
    """
    ...

class Document(tuple):
    """A piece of text that begins and ends, and where it stands. """

def train_tokenizer(files=None, texts=None, *, vocab_size: int = 1000, kind: str = 'bpe', sentinels: int = 0, save=None, by=None, column=None, template=None, encoding='utf-8', newlines=True, where=None, quoting=None):
    """Train a lossless tokenizer on your own text; `TokenizerError` for a size or kind that there cannot be.

    files: files, folders, patterns or addresses to learn from
    texts: or the texts themselves
    vocab_size: number of tokens, at least 257: the bytes and the end of text
    kind: "bpe" or "unigram", both on bytes
    sentinels: how many of the tokens stand for gaps: <extra_id_0>, <extra_id_1> and so on
    save: folder to write it to
    by: "file", "line", "paragraph", "row", or the string between documents; None: "row" for tables, else "file"
    column: of a table: the column with the text
    template: of a table: a text over columns, such as "{title}\\n\\n{text}"
    encoding: of the files, unless they begin with a byte order mark; "detect" guesses
    newlines: make every kind of line end a "\\n"
    where: a function of the text (of a table: of the row as a dictionary) that says whether to take it
    quoting: of a CSV or TSV: "none" where quotes are part of the texts, "minimal" where they stand around them
    """
    ...

def load_tokenizer(source, **kwargs):
    """A transformers tokenizer from wherever it lies; `TokenizerError` where none can be read.

    source: a folder, a file, the address of one, two files (vocab.json, merges.txt), a Hub id; a tokenizer stays
    """
    ...

class TokenDataset:
    """Documents as one stream of token ids, with the tokenizer that made them. """
    tokens: Any
    starts: Any
    info: Any
    path: Any
    header: Any
    def __init__(self, tokens, starts, codec, info=None, path=None, header=None):
        """tokens: ids [n_tokens], uint16 or uint32; each document ends with the end-of-text token
        starts: where each document starts, and at the end the number of tokens; uint64 [n_documents+1]
        codec: a `Codec`, or a function that makes it and takes `local_files_only`
        info: what else is known: sources, characters, duplicates
        path: the file it is mapped from
        header: of that file
        """
        ...

    def __len__(self):
        """ """
        ...

    @property
    def tokenizer(self):
        """The transformers tokenizer. """
        ...

    @property
    def fingerprint(self) -> str:
        """What identifies the tokenizer. """
        ...

    @property
    def vocab_size(self) -> int:
        """The number of ids that the tokenizer has. """
        ...

    @property
    def end(self):
        """The id that ends a document; None where the tokenizer has none. """
        ...

    def encode(self, text: str) -> list:
        """The ids of a text, by the tokenizer of this dataset; `TokenizerError` for what is no text.

        text: any, of which nothing is taken for a special token
        """
        ...

    def decode(self, ids) -> str:
        """The text of ids, by the tokenizer of this dataset.

        ids: token ids [n]
        """
        ...

    def __getitem__(self, i: int) -> np.ndarray:
        """The ids [n] of document `i`, without the end; `IndexError` beyond the last. """
        ...

    def save(self, path, compress='zstd'):
        """Write the cache; `CacheError` where it cannot be written.

        path: the file, or its address; it appears when it is complete
        compress: "zstd", "gzip" or None
        """
        ...

    @classmethod
    def load(cls, path, tokenizer=None):
        """Open a cache; a file that is not one, or is damaged, gives `CacheError`.

        path: a file made by `save`, or its address
        tokenizer: where it is not in the cache and no more where it was
        """
        ...

    def check(self) -> bool:
        """Compare every checksum of the file with its bytes; True, or `CacheError`. """
        ...

    @classmethod
    def from_files(cls, sources, tokenizer, *, dedupe=False, save=None, compress='zstd', by=None, column=None, template=None, encoding='utf-8', newlines=True, where=None, quoting=None):
        """Read, encode, and (with `save`) write the cache; `CorpusError`: unreadable text, `CacheError`: a wrong `save`.

        sources: files, folders, patterns or addresses; a pandas frame or `datasets.Dataset`
        tokenizer: a transformers tokenizer, or where one lies
        dedupe: leave out documents that come again
        save: file to write the cache to
        compress: of that file: "zstd", "gzip" or None
        by: "file", "line", "paragraph", "row", or the string between documents; None: "row" for tables, else "file"
        column: of a table: the column with the text
        template: of a table: a text over columns, such as "{title}\\n\\n{text}"
        encoding: of the files, unless they begin with a byte order mark; "detect" guesses
        newlines: make every kind of line end a "\\n"
        where: a function of the text (of a table: of the row as a dictionary) that says whether to take it
        quoting: of a CSV or TSV: "none" where quotes are part of the texts, "minimal" where they stand around them
        """
        ...

    @classmethod
    def from_texts(cls, texts, tokenizer, *, column=None, template=None, where=None, dedupe=False, save=None, compress='zstd'):
        """Encode texts that are in Python already; `CorpusError` names the one that is no text.

        texts: strings, dictionaries, a pandas frame, a `datasets.Dataset`; any iterable of these
        tokenizer: a transformers tokenizer, or where one lies
        column: of dictionaries: the one with the text
        template: of dictionaries: a text over several
        where: a function of the dictionary that says whether to take it
        dedupe: leave out documents that come again
        save: file to write the cache to
        compress: of that file: "zstd", "gzip" or None
        """
        ...

    def check_tokenizer(self, codec) -> bool:
        """True if `codec` is the tokenizer that made this dataset; else `CacheError`.

        codec: the model's
        """
        ...

    @classmethod
    def merge(cls, datasets, weights=None) -> TokenDataset:
        """Several datasets as one, mapped as they lie; `CacheError` for those of different tokenizers.

        datasets: of one tokenizer, or the paths of their caches
        weights: a share for each, or "equal"; None: by size
        """
        ...

    def split(self, fraction: float, seed: int = 0):
        """Hold out documents, at least one; of a single one some stretches. `CacheError`: too few, or no such fraction.

        fraction: of the documents, to hold out; of a single one: of its tokens
        seed: the same seed, the same split
        """
        ...

    def describe(self, context: int | None = None, batch_size: int | None = None):
        """Figures about the data: how many documents, tokens and characters, and how long documents are, in tokens.

        context: of the model that is to be trained: count documents that are longer
        batch_size: with `context`: steps in which as many tokens are seen as there are
        """
        ...


class Task:
    """The whole way from stored text to model input; `TaskError` for a source, step or split that cannot be. """
    text: Any
    steps: Any
    splits: Any
    postprocess: Any
    metrics: Any
    read: Any
    name: Any
    source: Any
    def __init__(self, name: str, source, preprocess=(), splits=None, postprocess=None, metrics=(), **read):
        """name: by which it is registered and its loss is shown
        source: a path, a bundled collection, a `TokenDataset`, a frame, or an iterable of strings or dictionaries
        preprocess: a preprocessor, or several in order; none: prefix LM, or language modelling without an input
        splits: share of the documents that is held out; or name -> share or source
        postprocess: a function of a generated text: what of it is the answer
        metrics: functions of (answers, what was wanted), both lists of texts, that return a number
        """
        ...

    @property
    def where(self) -> str:
        """The source in a few words. """
        ...

    def fingerprints(self) -> set:
        """The tokenizers that made the token caches among the text and the splits. """
        ...

    def leaves(self, open_task) -> list:
        """This task alone, opened, with the whole share.

        open_task: a function that opens a `Task`
        """
        ...

    def summary(self) -> tuple:
        """The source, and the names of the preprocessors. """
        ...

    def texts(self):
        """All text of the source, field by field. """
        ...

    def columns(self, codec, reads=None):
        """The fields of the source, encoded once for each tokenizer.

        codec: of the model
        reads: the fields that are wanted; None: all
        """
        ...

    def open(self, codec, kind: str = 'seq2seq', split: str = 'train', validation: float = 0.0, **options):
        """The task with its text encoded, ready to give examples; `TaskError` for a split or field that is not there.

        codec: of the model
        kind: of the model
        split: or a name in `splits`; "validation" is everything where nothing is held out
        validation: share of the documents to hold out, where the task has no splits of its own
        """
        ...

    @classmethod
    def register(cls, task, replace: bool = False):
        """Make a task known by its name; returns it. `TaskError` where the name is taken.

        task: with a name
        replace: take the place of a task of the same name
        """
        ...

    @classmethod
    def get(cls, name: str):
        """A task or mixture by its name; `TaskError` with the nearest name where there is none.

        name: of a registered task, or FILE.py:NAME, which runs that file
        """
        ...


class Mixture:
    """Several tasks that train one model; `TaskError` for rates that do not fit them. """
    tasks: Any
    rates: Any
    cap: Any
    temperature: Any
    by: Any
    name: Any
    def __init__(self, tasks, rates='proportional', cap: float | None = None, temperature: float = 1.0, *, by: str = 'example', name: str | None = None):
        """tasks: tasks, mixtures, names of registered ones, or anything a task takes as its source
        rates: or "equal", a list of numbers, or name -> number
        cap: with "proportional": no task counts for more examples than this
        temperature: with "proportional": above 1 evens the rates out
        by: what the rates are shares of: "example" or "token"
        name: by which it is registered
        """
        ...

    def shares(self, n, tokens) -> np.ndarray:
        """The probability of each task to give the next example.

        n: number of examples of each task, [n_tasks]
        tokens: mean number of tokens in an example of each, [n_tasks]; used by="token"
        """
        ...

    def texts(self):
        """All text of all tasks, one after the other. """
        ...

    def fingerprints(self) -> set:
        """The tokenizers that made the token caches among the tasks. """
        ...

    def summary(self) -> tuple:
        """The word mixture, and the tasks with their rates. """
        ...

    def leaves(self, open_task) -> list:
        """Each task of each part, opened, with its share of the whole.

        open_task: a function that opens a `Task`
        """
        ...


class Samples:
    """The texts of one call, with what is needed to make and to check them again. """
    settings: Any
    prompt: Any
    prompt_tokens: Any
    folder: Any
    engine: Any
    def __init__(self, samples, settings, prompt='', prompt_tokens=(), origin=None, folder=None, record=None, engine=None):
        """samples: each a `Sample`
        settings: the `GenerateSettings` they were asked for with
        prompt: what they continue; of several prompts a list
        prompt_tokens: its ids; of several prompts a list of lists
        origin: a function that gives the hashes of model and tokenizer
        folder: what the model's folder says of tokens, as `folder_rules` gives it
        record: the receipt they were read with; None: they were just written
        engine: what wrote them: its name, and the type of the weights
        """
        ...

    def __len__(self):
        """ """
        ...

    def __getitem__(self, i) -> Any:
        """i: a `Sample`; of a slice, `Samples`
        """
        ...

    def __iter__(self):
        """ """
        ...

    @property
    def seed(self) -> int:
        """The seed that gives the same texts again. """
        ...

    def among(self, samples) -> Samples:
        """Some of these, in any order, with all that is known of the call.

        samples: some of its samples
        """
        ...

    def __str__(self):
        """ """
        ...

    @property
    def receipt(self) -> Receipt:
        """What it takes to check every token: model, prompt, settings, seed, ids; `GenerateError` once the model changed. """
        ...

    @property
    def kept(self) -> Samples:
        """The texts that were marked to be kept. """
        ...

    @property
    def discarded(self) -> Samples:
        """The texts that were marked to be left out. """
        ...

    def filter(self, test) -> Samples:
        """The texts for which `test` is true.

        test: a function of a `Sample`
        """
        ...

    def sort(self, by: str = 'likelihood', *, reverse: bool = False) -> Samples:
        """The texts in another order; `GenerateError` for an unknown one, or for "novelty" that nobody has measured.

        by: "likelihood" (likeliest first), "novelty" (least copied first), "length" (longest first)
        reverse: the other way round
        """
        ...

    def save(self, path) -> Path:
        """Write the texts with marks and notes, and their receipt beside them; `GenerateError` where that cannot be.

        path: a file that ends in .jsonl
        """
        ...

    @classmethod
    def load(cls, path) -> Samples:
        """Read texts with marks, notes and receipt; `GenerateError` or `VerifyError` where the file was changed.

        path: a file that `save` or `generate_to_file` has written
        """
        ...

    def documents(self, prompt: bool = True) -> list:
        """The texts as training data, without those that were discarded.

        prompt: whether the prompt is part of a text
        """
        ...


class Sample:
    """One text. """
    # fields
    prompt: str
    text: str
    tokens: list
    logprob: float
    finish_reason: str
    index: int
    attempt: int = ...
    mark: str = ...
    note: str = ...
    copied: Any = ...
    def __str__(self):
        """ """
        ...

    def keep(self, note: str = ''):
        """Mark the text to be kept; returns it.

        note: why, for whoever reads the list later
        """
        ...

    def discard(self, note: str = ''):
        """Mark the text to be left out; returns it.

        note: why, for whoever reads the list later
        """
        ...

    @property
    def likelihood(self) -> float:
        """The mean log-probability of its tokens, natural logarithm: 0 is certain, below it less likely. """
        ...


class Run:
    """A training run that has ended. """
    # fields
    losses: list
    steps: int
    seconds: float
    tokens_per_second: float
    stopped: bool = ...
    folder: Any = ...
    validation: list = ...
    tasks: dict = ...
    unsaved: Any = ...
    def plot(self, ax=None):
        """The loss curve: every step faint, the running average strong.

        ax: matplotlib's axes; None: new ones
        """
        ...

    def to_csv(self, path) -> Path:
        """Write the losses as a table: step, loss in nats per token; `TrainError` where it cannot be written.

        path: of the file
        """
        ...

    def to_png(self, path) -> Path:
        """Write the loss curve as a picture; `TrainError` where it cannot be written.

        path: of the file
        """
        ...


def verify(path, model=None) -> Verdict:
    """Is this text what its receipt says? `VerifyError` where there is no receipt that can be read.

    path: a file of texts with its receipt beside it, the receipt, or an address
    model: a `TextGen`, a folder or its address, or a Hub id; None: it is looked for
    """
    ...

class Verdict:
    """Is a text what its receipt says? """
    # fields
    status: str
    reason: str
    samples: list = ...
    file: str = ...
    @property
    def ok(self) -> bool:
        """Whether every text is what the receipt says. """
        ...

    @property
    def exit_code(self) -> int:
        """What the command `textgen verify` ends with. """
        ...

    @property
    def bound(self) -> float:
        """The chance, 0 to 1, that a text had passed with a token changed: of all texts the largest. """
        ...

    @property
    def bits(self) -> float:
        """How much of the seed a text agrees with, in bits: of all texts the least. """
        ...


__all__ = ['CacheError', 'CorpusError', 'Document', 'ExportError', 'GenerateError', 'GenerateSettings', 'Mixture', 'ModelError', 'Receipt', 'Run', 'Sample', 'Samples', 'Task', 'TaskError', 'TextGen', 'TextGenError', 'TokenDataset', 'TokenizerError', 'TrainError', 'TrainSettings', 'Verdict', 'VerifyError', 'bundled', 'documents', 'load_tokenizer', 'train_tokenizer', 'verify']
