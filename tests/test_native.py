"""The native libraries: which is chosen, what happens where there is none, each instruction set against torch,
from_files. Kernels are compared in 39_kernels."""

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path
import pytest
import torch
import torch.nn.functional as F
from textgen.core import ModelError
from textgen.models.folder import load_model
from textgen.models.seq2seq import wrap

native = pytest.importorskip("textgen.generation.kernels")
engine = pytest.importorskip("textgen.generation.engine")
ROOT = Path(__file__).parents[1]
needs_library = pytest.mark.skipif(
    not native.built_isas(), reason="no native library is built: python setup.py build_ext --inplace"
)
SHAPES = [(1, 1, 16), (1, 100, 48), (2, 70, 32), (3, 15, 16), (4, 16, 64), (5, 17, 32), (6, 33, 16)]
SHAPES += [(9, 100, 48), (11, 130, 32), (33, 250, 64)]  # rows, outputs, inputs
CAN = native._able() if native.built_isas() else []


@pytest.fixture
def built(monkeypatch, tmp_path):
    "A function that makes a folder of libraries the one that is looked in."

    def use(**files):
        for isa, data in files.items():
            (tmp_path / f"textgen-{isa}.so").write_bytes(data)
        monkeypatch.setattr(native, "native_folder", lambda: tmp_path)
        monkeypatch.delenv("TEXTGEN_ISA", raising=False)

    return use


@needs_library
@pytest.mark.parametrize("isa", CAN)
@torch.inference_mode()
def test_every_instruction_set_writes_as_the_model_does(isa, monkeypatch, model_folder):
    monkeypatch.setenv("TEXTGEN_ISA", isa)
    model = wrap(load_model(model_folder, device="cpu"))
    fast = engine.faster(model)
    assert (
        fast.engine == f"native float32 {isa}" and engine.faster(model, quantize="int8").engine == f"native int8 {isa}"
    )
    s, t = (m.prefill(torch.arange(5, 17).view(2, 6)) for m in (model, fast))
    for _ in range(30):
        torch.testing.assert_close(s.logits, t.logits, atol=2e-4, rtol=1e-4)
        token = s.logits.argmax(-1)
        s, t = model.decode(token, s), fast.decode(token, t)


@needs_library
@pytest.mark.parametrize("isa", CAN)
@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("rows, out, n", SHAPES)
def test_a_product_in_every_shape(isa, int8, rows, out, n):
    "Against the same sum in double precision; of int8 against that of the integers, which is exact."
    g = torch.Generator().manual_seed(rows * out)
    w, b, x = torch.randn(out, n, generator=g), torch.randn(out, generator=g), torch.randn(rows, n, generator=g)
    got = native.apply_linear(native.open_library(isa), native.c_linear(w, b, int8), x)
    if int8:
        wt, xt = w.abs().amax(1), x.abs().amax(1, keepdim=True)
        qw, qx = (w * (127 / wt)[:, None]).round().double(), (x * (127 / xt) + 128.5).floor().double() - 128
        want = qx @ qw.T * (wt / 127**2) * xt + b
    else:
        want = F.linear(x.double(), w.double(), b.double())
    torch.testing.assert_close(got.double(), want.double(), atol=1e-4, rtol=1e-4)


@needs_library
@pytest.mark.parametrize("isa", CAN)
def test_no_sum_of_bytes_overflows(isa):
    "All weights and inputs as large as they can be, of both signs: products of two neighbours nearly fill 16 bits."
    signs = torch.tensor([[1.0, 1], [-1, -1], [1, -1], [0, -1]]).repeat(1, 32)
    got = native.apply_linear(native.open_library(isa), native.c_linear(signs, None, True), signs)
    torch.testing.assert_close(got, signs @ signs.T, atol=1e-4, rtol=0)


@needs_library
def test_the_best_that_the_processor_has_is_taken(monkeypatch):
    monkeypatch.delenv("TEXTGEN_ISA", raising=False)
    assert (
        native.isa_of(native.library()) == CAN[0]
        and CAN == [o for o in native.ISAS if o in CAN]
        and CAN[-1] == "generic"
    )
    assert native.library() is native.library()


def test_what_linux_says_of_the_processor():
    "The flags of /proc/cpuinfo are another witness of what may run."
    info = Path("/proc/cpuinfo")
    if not info.exists() or len(native.built_isas()) < 2:
        pytest.skip("no /proc/cpuinfo, or one variant only")
    flags = next(o for o in info.read_text().splitlines() if o.startswith("flags")).split()
    need = {"avx2": ["avx2", "fma"], "avx512": ["avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl"]}
    need["avx512-vnni"] = [*need["avx512"], "avx512_vnni"]
    for isa in native.built_isas():
        assert (isa in CAN) == all(f in flags for f in need.get(isa, [])), isa


@pytest.mark.parametrize(
    "isa, why",
    [
        ("sse9", "none of this name"),
        ("AVX2", "none of this name"),
        *[(o, "lacks it" if o in native.built_isas() else "no library is built") for o in native.ISAS if o not in CAN],
    ],
)
def test_an_impossible_instruction_set_is_an_error(isa, why, monkeypatch, cli, model_folder):
    monkeypatch.setenv("TEXTGEN_ISA", isa)
    with pytest.raises(ModelError, match=f"TEXTGEN_ISA={isa}: .*{why}.*; here it may be {', '.join([*CAN, 'none'])}"):
        native.library()
    said = cli("generate", model_folder, "--max-new-tokens", 3, "--seed", 1)
    assert said.code == 1 and f"TEXTGEN_ISA={isa}" in said.err and "Traceback" not in said.err and not said.out


def test_none_leaves_it_out(monkeypatch, model_folder):
    monkeypatch.setenv("TEXTGEN_ISA", "none")
    fast = engine.faster(wrap(load_model(model_folder, device="cpu")))
    assert (
        native.library() is None
        and fast.engine == "fused float32"
        and fast.why_not_faster == "TEXTGEN_ISA=none leaves the native library out"
    )
    assert fast.max_steps == 1
    with pytest.raises(engine.NeedsModel, match="TEXTGEN_ISA=none"):
        engine.from_files(model_folder)


def test_no_library(built, model_folder):
    built()
    fast = engine.faster(wrap(load_model(model_folder, device="cpu")))
    assert (
        fast.engine == "fused float32"
        and "no C compiler when textgen was installed" in fast.why_not_faster
        and native.library() is None
    )


@pytest.mark.parametrize("data", [b"", b"\x7fELF and no more", None])
def test_a_library_that_cannot_be_loaded(data, built):
    "Damaged files, and (None) a library that is somebody else's."
    import _ctypes

    built(generic=Path(_ctypes.__file__).read_bytes() if data is None else data)
    assert native.library() is None
    assert ("not of this version of textgen" if data is None else "cannot be loaded") in native.why_no_library()


@needs_library
def test_structures_that_lie_otherwise_are_noticed(monkeypatch):
    class Other(native.CStruct):
        _fields_ = [("weight", ctypes.c_void_p), *native.CLinear._fields_[2:]]

    Other.__name__ = "CLinear"
    monkeypatch.setattr(native, "STRUCTS", (Other, *native.STRUCTS[1:]))
    with pytest.raises(ModelError, match="Linear: 56 in C, 48 here.; install textgen again"):
        native.open_library("generic")


@needs_library
def test_what_is_not_the_right_tensor_does_not_reach_c():
    lib, norm = native.library(), native.CNorm(weight=torch.ones(16), size=16)
    for x in (torch.ones(1, 16).double(), torch.ones(16, 2).T[:1], torch.ones(1, 16).int()):
        with pytest.raises((TypeError, ctypes.ArgumentError), match="contiguous tensor"):
            lib.textgen_norm(norm, x, 1, torch.empty(1, 16))


@needs_library
def test_from_files_writes_what_the_whole_model_writes(model_folder, tmp_path):
    from textgen import TextGen
    from textgen.generation.generate import generate
    from textgen.settings import GenerateSettings

    tg, fast = TextGen(model_folder, device="cpu"), engine.from_files(model_folder)
    want = [s.tokens for s in tg.generate("The", n=4, max_new_tokens=30, seed=3)]
    got = generate(fast, tg.codec, "The", GenerateSettings(n=4, max_new_tokens=30, seed=3))
    assert fast.engine.startswith("native float32") and [s.tokens for s in got] == want


@needs_library
@pytest.mark.parametrize(
    "change",
    [
        dict(scale_attn_by_inverse_layer_idx=True),
        dict(activation_function="tanh"),
        dict(logit_softcap=30.0),
        dict(model_type="gpt_neox"),
        dict(add_cross_attention=True),
    ],
)
def test_from_files_leaves_what_it_does_not_know(change, model_folder, tmp_path):
    "A setting that changes what the model says, and that no plan has, needs the whole model."
    import shutil

    folder = Path(shutil.copytree(model_folder, tmp_path / "m"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(engine.NeedsModel):
        engine.from_files(folder)


def test_an_installation_without_a_compiler(tmp_path):
    "`setup.py` goes on without one, says so in one line, and leaves no library."
    env = {**{k: v for k, v in os.environ.items() if k != "CC"}, "PATH": str(tmp_path)}
    p = subprocess.run(
        [
            sys.executable,
            "setup.py",
            "build_ext",
            f"--build-lib={tmp_path / 'lib'}",
            f"--build-temp={tmp_path / 'temp'}",
        ],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
    )
    said = [o for o in p.stderr.splitlines() if o.startswith("textgen: ")]
    assert (
        p.returncode == 0 and len(said) == 1 and "without the native engine" in said[0] and "no C compiler" in said[0]
    )
    assert not list(tmp_path.rglob("*.so"))


def test_nothing_is_compiled_while_a_program_runs(python, model_folder, tmp_path):
    "No process is started, and nothing is written to the user's cache."
    out = python(
        """
import sys,os
os.environ.update(HOME=sys.argv[2], XDG_CACHE_HOME=sys.argv[2])
seen = []
STARTS = "subprocess.Popen", "os.system", "os.posix_spawn"
sys.addaudithook(lambda event, args: seen.append(args[0]) if event in STARTS else None)
from textgen import TextGen
TextGen(sys.argv[1], device="cpu").generate("The", max_new_tokens=3, seed=1)
print([str(o) for o in seen if "cc" in str(o) or "clang" in str(o)], os.path.exists(sys.argv[2]+"/textgen"))""",
        model_folder,
        tmp_path,
    )
    assert out.strip() == "[] False"
