"""Files that tests read, made on the spot from the bundled poems and news: nothing has to be downloaded, and no test
is skipped.

Each maker takes the path to write and follows the layout of a file that is common in the field. Where the larger
original lies in `../shared/data` beside the repository, the fixture `given` takes that instead.
"""

import json
import random
import shutil
import struct
from pathlib import Path

HERE = Path(__file__).parent/"data"
PIECES = 3000  # of the SentencePiece model
MERGES = 4000  # of the vocabulary in GPT-2's layout
POEMS = 5200


def bundled_rows(name):
    "The rows of a bundled collection."
    from textgen.text.corpus import bundled
    return [json.loads(line) for line in Path(bundled(name)).read_text(encoding="utf-8").splitlines()]


def bundled_texts():
    "The texts of both bundled collections."
    return [*(o["text"] for o in bundled_rows("poems")), *(o["body"] for o in bundled_rows("news"))]


# ---- texts
def naughty_strings(path):
    "Strings that break programs."
    shutil.copyfile(HERE/"naughty_strings.txt", path)


def stanzas():
    "The stanzas of the bundled poems."
    return [s for o in bundled_rows("poems") for s in o["text"].split("\n\n") if s.strip()]


def poems(path):
    "Thousands of poems in JSON lines, put together from the stanzas of the bundled ones."
    draw, pool = random.Random(0), stanzas()
    with open(path, "w", encoding="utf-8") as f:
        for i in range(POEMS):
            text = "\n\n".join(draw.sample(pool, draw.randint(3, 9)))
            f.write(json.dumps({"title": f"Poem {i+1}", "author": "several", "text": text}, ensure_ascii=False)+"\n")


def plays(path, size=1_000_000):
    "One text of a megabyte in the form of a play: a name, a colon, what is spoken, a blank line."
    draw, pool, parts = random.Random(1), stanzas(), []
    while sum(map(len, parts)) < size:
        speakers = ["First Citizen", "ROMEO", "JULIET", "Nurse", "MENENIUS"]
        parts += [f"{who}:\n{draw.choice(pool)}\n" for who in speakers*20]
    Path(path).write_text("\n".join(parts), encoding="utf-8")


# ---- tokenizers
def byte_characters():
    "The characters that stand for the 256 bytes, in GPT-2's order: the printable ones, then U+0100 on."
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printed]
    return [chr(b) for b in printed]+[chr(256+i) for i in range(len(others))]


def write_gpt2(folder, merges):
    "A vocabulary in GPT-2's layout: bytes, one token a merge, and the end of a text as the last."
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tokens = [*byte_characters(), *(a+b for a, b in merges), "<|endoftext|>"]
    vocab = {t: i for i, t in enumerate(tokens)}
    (folder/"vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    (folder/"merges.txt").write_text("#version: 0.2\n"+"".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
    return folder


def gpt2(folder):
    "A byte-level BPE with GPT-2's pattern, learned from the bundled texts, as vocab.json and merges.txt."
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=256 + MERGES, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tok.train_from_iterator(bundled_texts(), trainer)
    write_gpt2(folder, json.loads(tok.to_str())["model"]["merges"])


def varint(n):
    "A number as protobuf writes it: seven bits a byte, the lowest first."
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])


def protobuf_field(number, value):
    "A field of a protobuf message: an int, a float, a text or bytes."
    if isinstance(value, int): return varint(number*8)+varint(value)
    if isinstance(value, float): return varint(number*8+5)+struct.pack("<f", value)
    if isinstance(value, str): value = value.encode()
    return varint(number*8+2)+varint(len(value))+value


def message(**fields):
    "A protobuf message from `_1=…, _2=…`."
    return b"".join(protobuf_field(int(k[1:]), v) for k, v in fields.items())


def unigram_pieces(size):
    "Pieces and scores of a Unigram vocabulary of lower-case words, learned from the bundled texts."
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    tok = Tokenizer(models.Unigram())
    tok.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()])
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tok.train_from_iterator(
        bundled_texts(),
        trainers.UnigramTrainer(vocab_size=size, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False),
    )
    return [(piece, score) for piece, score in json.loads(tok.to_str())["model"]["vocab"] if piece != "<unk>"]


def spiece_model(path):
    "A SentencePiece Unigram model with the special pieces of ALBERT: the protobuf is written here, field by field."
    normal, unknown, control = 1, 2, 3
    special = [("<pad>", control), ("<unk>", unknown), ("[CLS]", control), ("[SEP]", control), ("[MASK]", control)]
    learned = unigram_pieces(PIECES-len(special)+1)[:PIECES-len(special)]
    pieces = [*((t, 0., kind) for t, kind in special), *((t, score, normal) for t, score in learned)]
    body = b"".join(protobuf_field(1, message(_1=t, _2=score, _3=kind)) for t, score, kind in pieces)
    trainer = message(_3=1, _4=len(pieces), _40=1)  # Unigram, its size, the id of <unk>
    normalizer = message(_1="identity", _3=1, _4=1, _5=1)  # a dummy prefix, no runs of blanks, blanks escaped
    Path(path).write_bytes(body+protobuf_field(2, trainer)+protobuf_field(3, normalizer))


MAKERS = {
    "naughty_strings.txt": naughty_strings,
    "poems.jsonl": poems,
    "tinyshakespeare.txt": plays,
    "gpt2": gpt2,
    "albert_spiece.model": spiece_model,
}
