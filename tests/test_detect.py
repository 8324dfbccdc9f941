"The encoding of a file is found, or it is said that it is not sure."

import pytest
from textgen import CorpusError
from textgen.text import source
from textgen.text.corpus import documents
from textgen.text.encoding import guess_encoding
from textgen.text.source import read_text

TEXTS = dict(
    english="“It’s a café,” she said — and didn’t smile. ‘No,’ he replied… and left.",
    german="Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. Öl, Äpfel, Übermut.",
    french="Dès Noël où un zéphyr haï me vêt de glaçons würmiens, je dîne d’exquis rôtis de bœuf à l’aÿ d’âge mûr.",
    spanish="El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia y frío, ¿añoraba a su querido cachorro?",
    polish="Pchnąć w tę łódź jeża lub ośm skrzyń fig. Zażółć gęślą jaźń, rzekła żona młynarza.",
    czech="Příliš žluťoučký kůň úpěl ďábelské ódy. Nechť již hříšné saxofony ďáblů rozezvučí síň.",
    hungarian="Árvíztűrő tükörfúrógép. Jó foxim és don Quijote húszwattos lámpánál ülve egy pár bűvös cipőt készít.",
    russian="Съешь же ещё этих мягких французских булок, да выпей чаю. Мороз и солнце; день чудесный!",
    ukrainian="Щастям б’єш жук їх глицю в фон й ґедзь пріч. Єхидна ящірка, їжак і гава живуть у лісі.",
    bulgarian="Ах, чудна българска земьо, полюшвай цъфтящи жита. "
    "Всички хора се раждат свободни и равни по достойнство.",
    greek="Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια.",
    hebrew="כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. כולם חוננו בתבונה ובמצפון.",
    arabic="يولد جميع الناس أحرارا متساوين في الكرامة والحقوق وقد وهبوا عقلا وضميرا.",
    turkish="Pijamalı hasta yağız şoföre çabucak güvendi. "
    "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar.",
    thai="มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ต่างมีเหตุผลและมโนธรรม",
    lithuanian="Įlinkdama fechtuotojo špaga sublykčiojusi pragręžė apvalų arbūzą. Visi žmonės gimsta laisvi ir lygūs.",
    vietnamese="Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền.",
    chinese="人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。",
    traditional="人人生而自由，在尊嚴和權利上一律平等。他們賦有理性和良心，並應以兄弟關係的精神相對待。",
    japanese="すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。カタカナもある。",
    korean="모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. "
    "인간은 천부적으로 이성과 양심을 부여받았다.",
    hindi="सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
)

ENCODINGS = """utf-8 utf-16-le utf-16-be utf-32-le utf-32-be utf-8-sig utf-16 utf-32 latin-1 cp1252 iso8859-15
mac-roman cp850 cp437
cp1250 iso8859-2 cp852 cp1251 koi8-r koi8-u iso8859-5 cp866 cp855 mac-cyrillic cp1253 iso8859-7 cp737
cp1254 iso8859-9 cp857
cp1255 iso8859-8 cp1256 iso8859-6 cp1257 iso8859-13 iso8859-4 cp775 tis-620 cp874 cp1258
gb2312 gbk gb18030 big5 cp950 big5hkscs shift_jis
cp932 euc_jp euc_kr cp949 johab iso2022_jp iso2022_kr hz""".split()


def _encoded(encoding):
    "Each text that an encoding can hold."
    for language, text in TEXTS.items():
        try:
            yield language, text, text.encode(encoding)
        except UnicodeEncodeError:
            continue


@pytest.fixture(autouse=True)
def nothing_guessed_yet(monkeypatch):
    monkeypatch.setattr(source, "_guesses", {})


def _read(path, raw, capsys, **kw):
    path.write_bytes(raw)
    text = read_text(path, "detect", **kw)
    return text, capsys.readouterr().err


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_right_or_doubtful(encoding, tmp_path, capsys):
    "In every encoding, each language: a sentence, and a page of it."
    tried, sure, wrong = 0, 0, []
    for language, text, raw in _encoded(encoding):
        for times in (1, 30) if "-16" not in encoding and "-32" not in encoding and encoding != "utf-8-sig" else (1,):
            found, notes = _read(tmp_path / f"{language}{times}.txt", raw * times, capsys)
            right = found == text * times
            tried, sure = tried + 1, sure + ("not sure" not in notes)
            if not right and "not sure" not in notes:
                wrong.append((language, times, notes))
    assert not wrong and tried and (sure or encoding in ("cp1258", "cp775", "iso8859-4", "iso8859-13"))


@pytest.mark.parametrize(
    "language,encoding",
    [
        ("english", "cp1252"),
        ("german", "cp1252"),
        ("french", "cp1252"),
        ("polish", "cp1250"),
        ("russian", "cp1251"),
        ("russian", "koi8-r"),
        ("russian", "cp866"),
        ("greek", "cp1253"),
        ("hebrew", "cp1255"),
        ("turkish", "cp1254"),
        ("thai", "tis-620"),
        ("chinese", "gb18030"),
        ("traditional", "big5"),
        ("japanese", "shift_jis"),
        ("japanese", "euc_jp"),
        ("korean", "euc_kr"),
        ("english", "utf-16-le"),
        ("hindi", "utf-16-be"),
        ("russian", "utf-32-le"),
        ("japanese", "iso2022_jp"),
        ("chinese", "hz"),
    ],
)
def test_sure(language, encoding, tmp_path, capsys):
    "A page of the usual ones is found without a doubt, and the choice is said."
    text = (TEXTS[language] + "\n") * 30
    found, notes = _read(tmp_path / "a.txt", text.encode(encoding), capsys)
    assert found == text and "not sure" not in notes and notes.startswith("note: ") and "a.txt is read as " in notes


def test_russian_in_capitals(tmp_path, capsys):
    text = TEXTS["russian"].upper() * 9
    for encoding in ("cp1251", "koi8-r", "cp866"):
        assert _read(tmp_path / f"{encoding}.txt", text.encode(encoding), capsys)[0] == text


@pytest.mark.parametrize("language", ["russian", "chinese", "hindi", "german"])
@pytest.mark.parametrize("shift", range(4))
def test_utf8_wherever_a_block_ends(language, shift, tmp_path, capsys):
    "Half a million bytes, so that a block ends inside of a character for some shift; nothing is said of UTF-8."
    text = "x" * shift + TEXTS[language] * (1_200_000 // len(TEXTS[language].encode()))
    assert _read(tmp_path / "a.txt", text.encode(), capsys) == (text, "")


def test_the_whole_file_counts(tmp_path, capsys):
    "Two megabytes of ASCII, then what tells the encoding, and the other way round."
    plain, end = "plain text. " * 200_000, TEXTS["russian"] * 3
    for text in (plain + end, end + plain):
        assert _read(tmp_path / f"{text[0]}.txt", text.encode("koi8-r"), capsys)[0] == text


def test_one_byte_that_is_not_utf8(tmp_path, capsys):
    "A file that is UTF-8 but for one byte is not read as Chinese in silence."
    raw = (TEXTS["german"] * 99).encode()
    text, notes = _read(tmp_path / "a.txt", raw[:3000].decode(errors="ignore").encode() + b"\xff " + raw, capsys)
    assert notes


@pytest.mark.parametrize(
    "raw", [bytes(range(256)) * 99, b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40], ids=["all bytes", "an image"]
)
def test_what_is_no_text(raw, tmp_path):
    (tmp_path / "a.txt").write_bytes(raw)
    with pytest.raises(CorpusError, match="no encoding fits"):
        read_text(tmp_path / "a.txt", "detect")


@pytest.mark.parametrize("raw", [b"", b"a", b"\n", b"nul\0 and \x07", b"\xef\xbb\xbf", bytes(99)], ids=str)
def test_valid_utf8_is_utf8(raw, tmp_path, capsys):
    assert _read(tmp_path / "a.txt", raw, capsys) == (raw.decode("utf-8-sig"), "")


def test_said_once(tmp_path, capsys):
    "A file that is read again, for the ids after the tokenizer, is not looked at again; one that changed is."
    path = tmp_path / "a.txt"
    path.write_bytes(TEXTS["german"].encode("cp1252"))
    for _ in range(3):
        list(documents(path, encoding="detect"))
    assert capsys.readouterr().err.count("note: ") == 1
    path.write_bytes((TEXTS["russian"] * 3).encode("koi8-r"))
    assert next(documents(path, encoding="detect")).text == TEXTS["russian"] * 3 and "koi8-r" in capsys.readouterr().err


def test_tables_too(tmp_path, capsys):
    (tmp_path / "a.csv").write_bytes(
        ("id,text\n" + "".join(f"{i},{TEXTS['polish']}\n" for i in range(9))).replace(", ", " ").encode("cp1250")
    )
    assert next(documents(tmp_path / "a.csv", encoding="detect", column="text")).text.startswith("Pchnąć")


def test_chunks_of_any_size():
    "The guess depends on the bytes and not on how they come."
    raw = (TEXTS["chinese"] * 3).encode("gb18030")
    guesses = {guess_encoding(lambda: (raw[i : i + n] for i in range(0, len(raw), n))) for n in (1, 2, 3, 7, 1000)}
    assert len(guesses) == 1
