"""Tokenizer folders of current families: normalizer, pre-tokenizer, decoder, frame and added tokens as theirs,
vocabularies learned from the bundled poems."""

import json
from functools import cache
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from textgen.text.corpus import bundled, documents

BYTES = [f"<0x{i:02X}>" for i in range(256)]
_BLANKS = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + _BLANKS
)
QWEN = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
DEEPSEEK = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"""
    + _BLANKS
)


@cache
def poems():
    return [d.text for d in documents(bundled("poems"))]


def _named(*names, special=True, **options):
    return [AddedToken(n, special=special, normalized=False, **options) for n in names]


def _template(tok, begin="", end=""):
    "The frame that a tokenizer puts around a text."
    single = " ".join(o for o in (begin, "$A", end) if o)
    return processors.TemplateProcessing(
        single=single, special_tokens=[(o, tok.token_to_id(o)) for o in (begin, end) if o]
    )


def _byte_level(special, before=(), normalizer=None, regex=True, ignore_merges=False, size=500):
    "A byte-level BPE; `before` are the steps that split a text before its bytes are taken."
    tok = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)
    tok.pre_tokenizer = pre_tokenizers.Sequence([*before, level]) if before else level
    if normalizer:
        tok.normalizer = normalizer
    tok.decoder, tok.post_processor = decoders.ByteLevel(), processors.ByteLevel(trim_offsets=False)
    tok.train_from_iterator(
        poems(),
        trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=list(special),
            show_progress=False,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        ),
    )
    return tok


def _split(pattern, behavior="isolated"):
    return pre_tokenizers.Split(Regex(pattern), behavior)


def _byte_fallback(special, normalizer=None, pre=None, strip=True, size=900, byte_fallback=True):
    "A BPE on characters, as SentencePiece's: what it lacks is written as bytes."
    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=byte_fallback))
    if normalizer:
        tok.normalizer = normalizer
    tok.pre_tokenizer = pre or pre_tokenizers.Split(
        Regex("(?=▁)"), "isolated"
    )  # for training only: no piece across words
    names = [*special, *(BYTES if byte_fallback else [])]
    tok.train_from_iterator(
        poems(), trainers.BpeTrainer(vocab_size=size, special_tokens=names, show_progress=False, limit_alphabet=60)
    )
    spec = json.loads(tok.to_str())
    spec["added_tokens"] = spec["added_tokens"][: len(special)]  # the bytes are ordinary pieces
    if not pre:
        spec["pre_tokenizer"] = None
    tok = Tokenizer.from_str(json.dumps(spec))
    tok.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            *([decoders.Strip(" ", 1, 0)] if strip else []),
        ]
    )
    return tok


def _unigram(special, normalizer, pre, unk="<unk>", size=600):
    tok = Tokenizer(models.Unigram())
    tok.normalizer, tok.pre_tokenizer, tok.decoder = normalizer, pre, decoders.Metaspace()
    tok.train_from_iterator(
        poems(),
        trainers.UnigramTrainer(vocab_size=size, special_tokens=list(special), unk_token=unk, show_progress=False),
    )
    return tok


# ---- the families: each returns a tokenizers.Tokenizer and what its tokenizer_config.json says
def gpt2():
    tok = _byte_level(["<|endoftext|>"])
    return tok, dict(
        tokenizer_class="GPT2Tokenizer",
        add_prefix_space=False,
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        unk_token="<|endoftext|>",
    )


def roberta():
    tok = _byte_level(["<s>", "<pad>", "</s>", "<unk>"])
    tok.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    tok.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    return tok, dict(
        tokenizer_class="RobertaTokenizer",
        add_prefix_space=False,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        cls_token="<s>",
        sep_token="</s>",
        mask_token="<mask>",
    )


def _prepended():
    return normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])


def llama2():
    tok = _byte_fallback(["<unk>", "<s>", "</s>"], _prepended())
    tok.post_processor = _template(tok, "<s>")
    return tok, dict(
        tokenizer_class="LlamaTokenizer",
        legacy=False,
        add_bos_token=True,
        add_eos_token=False,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


def tinyllama():
    tok, config = llama2()
    return tok, config | dict(tokenizer_class="PreTrainedTokenizerFast", pad_token="</s>")


def phi3():
    tok, config = llama2()
    tok.add_special_tokens(_named("<|endoftext|>"))
    tok.add_special_tokens(_named("<|assistant|>", "<|end|>", rstrip=True))
    tok.add_tokens(_named("<|placeholder1|>", special=False, rstrip=True))
    return tok, config | dict(eos_token="<|endoftext|>", pad_token="<|endoftext|>", add_bos_token=False)


def mistral():
    "Version 0.3: no normalizer, Metaspace before the first word, control tokens of its own."
    tok = _byte_fallback(
        ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"], pre=pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    )
    tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tok.post_processor = _template(tok, "<s>")
    return tok, dict(
        tokenizer_class="LlamaTokenizer",
        legacy=False,
        add_bos_token=True,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


def gemma():
    tok = _byte_fallback(
        ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"],
        normalizers.Replace(" ", "▁"),
        strip=False,
    )
    tok.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tok.add_tokens(_named("\n\n", "\n\n\n", "▁▁", "▁▁▁▁", "<table>", special=False))
    tok.post_processor = _template(tok, "<bos>")
    return tok, dict(
        tokenizer_class="GemmaTokenizer",
        add_bos_token=True,
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        pad_token="<pad>",
        clean_up_tokenization_spaces=False,
    )


def llama3():
    tok = _byte_level(
        ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"], [_split(LLAMA3)], regex=False, ignore_merges=True
    )
    tok.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=False), _template(tok, "<|begin_of_text|>")]
    )
    return tok, dict(
        tokenizer_class="PreTrainedTokenizerFast",
        bos_token="<|begin_of_text|>",
        eos_token="<|end_of_text|>",
        clean_up_tokenization_spaces=True,
    )


def qwen2():
    tok = _byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], [_split(QWEN)], normalizers.NFC(), regex=False)
    tok.add_tokens(_named("<tool_call>", "</tool_call>", "<|fim_prefix|>", special=False))
    return tok, dict(
        tokenizer_class="Qwen2Tokenizer",
        add_prefix_space=False,
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
    )


def phi():
    "CodeGen's: runs of spaces and tabs are added tokens."
    tok = _byte_level(["<|endoftext|>"])
    tok.add_tokens(
        [AddedToken(" " * n, normalized=True, special=False) for n in range(31, 1, -1)]
        + [AddedToken("\t" * n, normalized=True, special=False) for n in range(9, 1, -1)]
    )
    return tok, dict(
        tokenizer_class="CodeGenTokenizer",
        add_prefix_space=False,
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        clean_up_tokenization_spaces=True,
    )


def gpt_neox():
    tok = _byte_level(["<|endoftext|>", "<|padding|>"], normalizer=normalizers.NFC())
    tok.add_tokens([AddedToken(" " * n, normalized=True, special=False) for n in range(24, 1, -1)])
    return tok, dict(
        tokenizer_class="GPTNeoXTokenizer",
        add_prefix_space=False,
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        clean_up_tokenization_spaces=True,
    )


def deepseek():
    splits = [_split(r"\p{N}{1,3}"), _split("[一-龥぀-ゟ゠-ヿ]+"), _split(DEEPSEEK)]
    tok = _byte_level([], splits, normalizers.Sequence([]), regex=False)
    tok.add_special_tokens(_named("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"))
    tok.add_tokens(_named("<｜User｜>", "<｜Assistant｜>", special=False))
    tok.post_processor = _template(tok, "<｜begin▁of▁sentence｜>")
    return tok, dict(
        tokenizer_class="PreTrainedTokenizerFast",
        add_bos_token=True,
        bos_token="<｜begin▁of▁sentence｜>",
        eos_token="<｜end▁of▁sentence｜>",
        pad_token="<｜end▁of▁sentence｜>",
        clean_up_tokenization_spaces=False,
    )


def bloom():
    tok = _byte_level(["<unk>", "<s>", "</s>", "<pad>"], [_split(r" ?[^(\s|[.,!?…。，、।۔،])]+")], regex=False)
    return tok, dict(
        tokenizer_class="BloomTokenizerFast",
        add_prefix_space=False,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        clean_up_tokenization_spaces=False,
    )


def falcon():
    before, after = (
        pre_tokenizers.Punctuation("contiguous"),
        [pre_tokenizers.Digits(individual_digits=False), _split("[0-9][0-9][0-9]")],
    )
    tok = _byte_level([">>TITLE<<", ">>ABSTRACT<<", "<|endoftext|>"], [before])
    tok.pre_tokenizer = pre_tokenizers.Sequence([before, pre_tokenizers.ByteLevel(add_prefix_space=False), *after])
    return tok, dict(
        tokenizer_class="PreTrainedTokenizerFast",
        add_prefix_space=False,
        eos_token="<|endoftext|>",
        clean_up_tokenization_spaces=True,
    )


def smollm():
    tok = _byte_level(
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<file_sep>"], [pre_tokenizers.Digits(individual_digits=True)]
    )
    return tok, dict(
        tokenizer_class="GPT2Tokenizer",
        add_prefix_space=False,
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
    )


def sentencepiece_bpe():
    "Without byte fallback: what it lacks is unknown."
    tok = _byte_fallback(["<unk>", "<s>", "</s>"], _prepended(), byte_fallback=False, size=500)
    tok.post_processor = _template(tok, "<s>")
    return tok, dict(
        tokenizer_class="PreTrainedTokenizerFast",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


def t5():
    tok = _unigram(
        ["<pad>", "</s>", "<unk>"],
        normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " ")]),
        pre_tokenizers.Metaspace(),
    )
    tok.add_special_tokens(_named(*(f"<extra_id_{i}>" for i in reversed(range(20)))))
    tok.post_processor = _template(tok, end="</s>")
    names = [f"<extra_id_{i}>" for i in range(20)]
    return tok, dict(
        tokenizer_class="PreTrainedTokenizerFast",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        extra_special_tokens=names,
    )


def xlmr():
    pre = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tok = _unigram(
        ["<s>", "<pad>", "</s>", "<unk>"],
        normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]),
        pre,
    )
    tok.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    tok.post_processor = _template(tok, "<s>", "</s>")
    return tok, dict(
        tokenizer_class="PreTrainedTokenizerFast",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        cls_token="<s>",
        sep_token="</s>",
        mask_token="<mask>",
    )


def albert():
    steps = [
        normalizers.Replace("``", '"'),
        normalizers.Replace("''", '"'),
        normalizers.NFKD(),
        normalizers.StripAccents(),
        normalizers.Lowercase(),
        normalizers.Replace(Regex(" {2,}"), " "),
    ]
    pre = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tok = _unigram(["<pad>", "<unk>", "[CLS]", "[SEP]"], normalizers.Sequence(steps), pre)
    tok.post_processor = _template(tok, "[CLS]", "[SEP]")
    return tok, dict(
        tokenizer_class="PreTrainedTokenizerFast",
        bos_token="[CLS]",
        eos_token="[SEP]",
        unk_token="<unk>",
        pad_token="<pad>",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )


FAMILIES = {
    f.__name__: f
    for f in (
        gpt2,
        roberta,
        llama2,
        tinyllama,
        phi3,
        mistral,
        gemma,
        llama3,
        qwen2,
        phi,
        gpt_neox,
        deepseek,
        bloom,
        falcon,
        smollm,
        sentencepiece_bpe,
        t5,
        xlmr,
        albert,
    )
}


def write_family(name, folder):
    "The folder of a family's tokenizer, as the Hub holds it."
    tok, config = FAMILIES[name]()
    folder.mkdir(parents=True)
    tok.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder
