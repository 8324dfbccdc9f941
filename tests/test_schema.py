"Texts that must fit: for causal and seq2seq models, byte-level and other vocabularies; and what is refused."
import json
import re
import pytest
from textgen.core import GenerateError
from textgen.settings import GenerateSettings, as_schema

pytest.importorskip("llguidance")
from textgen.generation.generate import generate
from textgen.generation.rules import Guide, parse
from textgen.text.codec import Codec

ANIMAL = dict(
    type="object",
    properties=dict(name=dict(type="string", maxLength=8), legs=dict(enum=[2, 4])),
    required=["name", "legs"],
    additionalProperties=False,
)
FITS = {
    "regex": (r"[0-9]{4}-[0-9]{2}", lambda t: re.fullmatch(r"[0-9]{4}-[0-9]{2}", t)),
    "choice": (["yes", "No way", "naïve\nZoë"], lambda t: t in ("yes", "No way", "naïve\nZoë")),
    "json": (ANIMAL, lambda t: json.loads(t)["legs"] in (2, 4) and set(json.loads(t)) == {"name", "legs"}),
    "fields": (dict(fields="<{a}> {b}"), lambda t: set(parse(dict(fields="<{a}> {b}"), t)) == {"a", "b"}),
}


@pytest.fixture(scope="module")
def t5(tok):
    "A tiny random T5 with a byte-level vocabulary."
    from transformers import AutoModelForSeq2SeqLM, T5Config
    from textgen.models.build import seeded
    from textgen.models.seq2seq import wrap

    with seeded(0):
        return wrap(
            AutoModelForSeq2SeqLM.from_config(
                T5Config(
                    vocab_size=len(tok),
                    d_model=32,
                    d_kv=8,
                    d_ff=64,
                    num_layers=1,
                    num_heads=2,
                    decoder_start_token_id=0,
                )
            ).eval()
        )


def _unigram(small=False):
    "A vocabulary that writes ▁ for a space, as T5's does."
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = [
        "<pad>",
        "</s>",
        "▁",
        "▁yes",
        "▁no",
        *(c for c in map(chr, range(33, 127)) if not (small and c.isupper())),
        "ï",
        "ë",
    ]
    t = Tokenizer(models.Unigram([(p, -1.-i/100) for i,p in enumerate(pieces)], unk_id=0))
    t.pre_tokenizer, t.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return PreTrainedTokenizerFast(
        tokenizer_object=t, eos_token="</s>", pad_token="<pad>", clean_up_tokenization_spaces=False
    )


@pytest.mark.parametrize("kind", FITS)
@pytest.mark.parametrize("which", ["causal", "seq2seq"])
def test_what_ends_fits(tg, t5, kind, which):
    schema, fits = FITS[kind]
    m = tg.wrapped if which=="causal" else t5
    out = generate(
        m,
        tg.codec,
        "The sea",
        GenerateSettings(n=40, seed=1, temperature=1.5, max_new_tokens=250 if kind == "fields" else 50, schema=schema),
        guide=Guide(tg.codec, schema),
    )
    ended = [s.text for s in out if s.finish_reason=="end"]
    assert ended and all(fits(t) for t in ended) and {s.finish_reason for s in out}<={"end", "length"}

def test_other_vocabularies(t5):
    "▁ is a space; the blank that decoding takes away is no part of the text."
    codec = Codec(_unigram())
    for schema in (["yes", "no"], "(yes|no)", dict(enum=["yes", "no"])):
        out = generate(
            t5,
            codec,
            "yes",
            GenerateSettings(n=20, seed=1, temperature=2.0, max_new_tokens=12, schema=schema),
            guide=Guide(codec, schema),
        )
        assert {s.text.strip('"') for s in out}=={"yes", "no"} and all(s.text==s.text.strip(" ") for s in out)

def test_lossless_vocabularies(t5):
    "One that writes capitals and newlines with markers: choices are exact, a pattern is refused."
    from textgen.text.lossless import lossless
    codec, choices = Codec(lossless(_unigram(small=True))), ["Yes", "No\nWAY ", "Zoë"]
    assert codec.lossless
    with pytest.raises(GenerateError, match="markers"): Guide(codec, "[a-z]+")
    out = generate(
        t5,
        codec,
        "yes",
        GenerateSettings(n=20, seed=1, temperature=2.0, max_new_tokens=40, schema=choices),
        guide=Guide(codec, choices),
    )
    assert len(got := {s.text for s in out})>1 and got<=set(choices) and {s.finish_reason for s in out}=={"end"}

def test_same_seed_same_texts_in_any_batch(tg):
    ask = dict(seed=3, temperature=1., max_new_tokens=30, schema=r"[a-z ]{3,20}\.")
    many = [s.text for s in tg.generate("The sea", n=9, **ask)]
    assert many == [s.text for s in tg.generate("The sea", n=9, batch_size=2, **ask)] and many[:1] == [
        s.text for s in tg.generate("The sea", **ask)
    ]


def test_with_other_rules(tg):
    "A schema with stop strings, streams, greedy text, and bans; one that cannot be kept ends as stuck."
    assert "".join(tg.stream("The", schema=r"[a-z]{5}", seed=1)).isalpha()
    assert re.fullmatch("[a-z]{5}", tg.generate("The", schema=r"[a-z]{5}", temperature=0)[0].text)
    assert "e" not in tg.generate("The", schema=r"[a-z]{9}", banned="e", seed=1)[0].text
    stuck = tg.generate("The", schema=["yes"], banned="y", seed=1, nonempty=False)[0]
    assert (stuck.finish_reason, stuck.text)==("stuck", "")
    assert tg.generate("The", schema=r"[a-z]{5}!", stop="!", seed=1)[0].text.isalpha()

def test_the_receipt_holds_the_schema(tg):
    out = tg.generate("The", schema=["yes", "no"], seed=1)
    assert json.loads(out.receipt.to_json())["settings"]["schema"]==dict(choice=["yes", "no"])
    assert as_schema(out.receipt["settings"]["schema"])==dict(choice=["yes", "no"])

@pytest.mark.parametrize(
    "bad,says",
    [
        ("(", "cannot be used"),
        (3, "schema must be"),
        ([], "schema must be"),
        (dict(fields="{a}{b}"), "must stand between"),
        (dict(type="nonsense"), "cannot be used"),
    ],
    ids=repr,
)
def test_what_is_no_schema(tg, bad, says):
    with pytest.raises(GenerateError, match=says):
        tg.generate("The", schema=bad)


def test_command_line(cli, model_folder, tmp_path):
    (tmp_path/"s.json").write_text(json.dumps(ANIMAL))
    assert re.match(
        r"The[0-9]{3}$", cli("generate", model_folder, "--prompt", "The", "--schema", "[0-9]{3}").out.strip()
    )
    assert cli("generate", model_folder, "--schema", '["yes", "no"]').out.strip() in ("yes", "no")
    assert cli("generate", model_folder, "--schema", tmp_path/"s.json", "--max-new-tokens", 60).out.startswith("{")

def test_without_the_library(tg, monkeypatch):
    import sys
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(GenerateError, match=r"textgen-nb\[schema\]"): Guide(tg.codec, "a")


def _reads(codec, schema, text):
    "Whether a text can be written, and is then complete."
    matcher = Guide(codec, schema).first.deep_copy()
    return all(matcher.consume_token(i) for i in codec.encode(text)) and matcher.is_accepting()


def test_json_has_no_more_blanks_than_a_person_writes(tok):
    schema = dict(type="object", properties=dict(a=dict(type="integer"), b=dict(type="string")), required=["a", "b"])
    good = ['{"a": 1, "b": "x"}', '{"a":1,"b":"x    y"}', '{\n  "a": 1,\n  "b": "x"\n}']
    bad = ['{"a":  1, "b": "x"}', '{\n\n"a": 1,"b":"x"}', '{"a": 1,          "b": "x"}']
    assert [_reads(Codec(tok), schema, text) for text in good + bad] == [True] * 3 + [False] * 3
