"""How much memory an encoder takes, beside ONNX Runtime's: processes that do nothing else.

Each loads the model and its tokenizer, takes the batches of the benchmark `minilm` one after the
other, the sentences of mixed length last, and tells its peak of resident memory (Linux).
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from cases import minilm
from process import Setting
from results import Held

from tinytorch.cli.embed import installed_model
from tinytorch.measure.units import bytes_text

_RUNS = 3
_BEGIN = """
import sys
import numpy as np
from sentences import sentences
from training import resident_bytes
folder, precision, threads, *paths = sys.argv[1:]
batches = [np.load(path) for path in paths]
"""
_OURS = """
from tinytorch import hub
model = hub.load(folder, precision)
for ids in batches:
    model.forward(list(ids))
model.embed(sentences())
"""
_THEIRS = """
import tokenizers
from peers import onnx_models
session = onnx_models.loaded(precision, int(threads))
tokenizer = tokenizers.Tokenizer.from_file(f"{folder}/tokenizer.json")
for ids in batches:
    session.run(["states"], {"ids": ids, "mask": np.ones_like(ids)})
tokenizer.enable_padding()
made = tokenizer.encode_batch(sentences())
ids, mask = np.array([m.ids for m in made]), np.array([m.attention_mask for m in made])
onnx_models.pooled(session, ids, mask)
"""
_END = "print(resident_bytes(peak=True))"
_EXPORT = "import sys, pathlib; from peers import onnx_models as m; m.exported(pathlib.Path({!r}))"


def _ran(python: str, code: str, setting: Setting, *given: str) -> str:
    """Run code in a process of its own; raises RuntimeError with its last line where it fails."""
    done = subprocess.run(
        [python, "-c", code, *given],
        capture_output=True,
        text=True,
        env=setting.environment(),
        cwd=setting.folder,
    )
    if done.returncode:
        raise RuntimeError("".join(done.stderr.strip().splitlines()[-1:])[:200])
    return done.stdout


def _peak(python: str, code: str, setting: Setting, given: tuple[str, ...]) -> float:
    """Return the median peak of some processes, bytes."""
    whole = _BEGIN + code + _END
    return statistics.median(int(_ran(python, whole, setting, *given)) for _ in range(_RUNS))


def encoder(setting: Setting) -> Iterator[Held]:
    """The peak of a process that embeds all batches, ours and ONNX Runtime's, by precision."""
    folder = installed_model()
    if folder is None or sys.platform != "linux":
        return
    paths = []
    for b, t in minilm.BATCHES:
        paths.append(str(setting.folder / f"ids{b}x{t}.npy"))
        np.save(paths[-1], minilm.full(b, t)[0])
    for precision in ("float32", "int8"):
        given = (str(folder), precision, str(setting.threads), *paths)
        _ran(sys.executable, _BEGIN + _OURS, setting, *given)  # it may compile
        ours = _peak(sys.executable, _OURS, setting, given)
        text, held = bytes_text(round(ours)), None
        try:
            _ran(setting.peers_python, _EXPORT.format(str(folder)), setting)
            theirs = _peak(setting.peers_python, _THEIRS, setting, given)
        except RuntimeError as failure:
            text += f"; ONNX Runtime: not measured ({failure})"
        else:
            text, held = f"{text}; ONNX Runtime {bytes_text(round(theirs))}", ours <= theirs
        name = f"peak memory of a process that embeds five batches, {precision}"
        yield Held("house", name, "<= ONNX Runtime's", text, held)
    for path in paths:
        Path(path).unlink()
