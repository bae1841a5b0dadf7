"""`jit`: the one set of compile flags, and a cache that notices when any of our sources changed.

Numba's own cache looks only at the file of the function it compiled: a kernel that inlines a
changed `vmath.exp` would be served stale. Here the cache folder carries a hash of every source
that compiled code can come from, so a change anywhere is a miss everywhere.
"""

from __future__ import annotations

import atexit
import functools
import gc
import linecache
import platform
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, cast, overload

from tinytorch import config
from tinytorch.files import write_whole
from tinytorch.native import later, level, threads
from tinytorch.native.sources import source_hash, sources_in

F = TypeVar("F", bound=Callable[..., Any])

# NOTE: no nnan/ninf, so NaN and infinity mean what they mean in NumPy; no reassoc, so a sum keeps
# its order unless a kernel asks for REASSOCIATE (reductions need it to use vector registers).
FLAGS = frozenset({"contract", "nsz", "arcp"})
REASSOCIATE = FLAGS | {"reassoc"}

# NOTE: LLVM prefers 256-bit vectors on a generic AVX-512 CPU unless it is told not to.
_ISA_CPU = {
    "avx512": ("x86-64-v4", "-prefer-256-bit"),
    "avx2": ("x86-64-v3", ""),
    "v128": ("x86-64-v2", ""),
}
# What Numba imports, and few of its users need.
_SELDOM = ("yaml", "importlib.metadata", "html", "numba.experimental")
# Numba asks which version SciPy has, where there is one, and needs it for what nothing here uses.
_UNASKED = ("scipy",)
_COMPILED_PACKAGES = ("native", "kernels", "measure", "fuse")


@functools.cache
def folder() -> Path | None:
    """Return where compiled code is kept, or None (with one warning) if that can't be written."""
    package = Path(__file__).parent.parent
    sources = [p for name in _COMPILED_PACKAGES for p in sources_in(package / name)]
    path = config.cache_dir() / "numba" / source_hash(sources)
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".writable"
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        warnings.warn(
            f"compiled code can't be kept in {path} ({error.strerror}): every process will compile "
            "again; set TINYTORCH_CACHE_DIR to a folder that can be written",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    return path


@functools.cache
def numba() -> Any:
    """Import Numba once, with thread pools prepared and the CPU target that config asks for."""
    threads.prepare()
    with later.put_off(*_SELDOM, without=_UNASKED):
        import numba as module

    isa = level.isa()  # refuses what this CPU lacks
    if config.get("TINYTORCH_ISA") and platform.machine().lower() in ("x86_64", "amd64"):
        cpu, features = _ISA_CPU[isa]
        vnni = f"+{level.vnni_feature()}" if level.vnni_feature() else ""
        module.config.CPU_NAME = cpu
        module.config.CPU_FEATURES = ",".join(part for part in (features, vnni) if part)
    # NOTE: as it ends, Python looks for garbage before modules go and twice after that; a look at
    # what Numba's modules are made of takes 30 ms and more, and two find whatever there is.
    atexit.register(gc.disable)
    if threads.get_num_threads() < threads.usable_cpus():
        threads.set_num_threads(threads.get_num_threads())  # its pool is there to be told only now
    return module


def __getattr__(name: str) -> Any:
    """Give kernels Numba's `prange` with everything prepared, as `from numba` would not."""
    if name == "prange":
        return numba().prange
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@overload
def jit(function: F) -> F: ...
@overload
def jit(
    *, parallel: bool = ..., flags: frozenset[str] = ..., inline: bool = ...
) -> Callable[[F], F]: ...
def jit(
    function: F | None = None,
    *,
    parallel: bool = False,
    flags: frozenset[str] = FLAGS,
    inline: bool = False,
) -> F | Callable[[F], F]:
    """Compile a function at its first call, cached on disk, with NumPy's floating-point errors.

    `parallel` lets `prange` use the threads that `native.threads` owns; it is for functions that
    Python calls. `inline` is for scalar helpers such as `vmath.exp` that must melt into the loop
    that calls them.
    """
    if function is None:
        return functools.partial(jit, parallel=parallel, flags=flags, inline=inline)
    if parallel:
        serial = _compiled(function, flags, parallel=False)
        return cast(F, _Shared(_compiled(function, flags, parallel=True), serial))
    return _compiled(function, flags, inline=inline)


# NOTE: where Numba has no OpenMP, its pool ends the process when two Python threads use it at once;
# where it has, each of them would start workers of its own for the same cores.
_POOL = threading.Lock()


@functools.cache
def _ready() -> Callable[[], None]:
    """Give OpenBLAS our pool, and return what keeps the pool's workers off their caller's CPU."""
    from tinytorch.native import blas, placement  # which are compiled by what is here

    blas.adopt()
    return placement.keep_apart


class _Shared:
    """A function in two forms: its `prange` loops shared among threads, and for one thread alone.

    One thread needs no pool, and a forked process has none: using OpenMP's there would end it.
    """

    def __init__(self, parallel: Any, serial: Any) -> None:
        functools.update_wrapper(self, parallel.py_func)
        self._parallel, self._serial = parallel, serial

    def __call__(self, *args: Any) -> Any:
        if threads.get_num_threads() == 1:
            return self._serial(*args)
        with _POOL:
            _ready()()
            return self._parallel(*args)

    @property
    def parallel(self) -> Any:
        """The form whose loops are shared, for compiled code to call."""
        return self._parallel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parallel, name)


def _compiled(
    function: F, flags: frozenset[str], *, parallel: bool = False, inline: bool = False
) -> F:
    from tinytorch.native import kept  # which imports Numba

    # NOTE: with Numba's default error model, the zero-division check of a single `/` stops the loop
    # from vectorising.
    compiled: F = numba().njit(
        function,
        parallel=parallel,
        fastmath=set(flags),
        error_model="numpy",
        nogil=True,
        forceinline=inline,
    )
    # NOTE: in two folders, for Numba's keys don't tell a function's parallel form from its serial
    # one.
    place = _part("shared" if parallel else "alone")
    if place is not None and not inline:
        kept.keep(compiled, place)
    return compiled


@functools.cache
def _part(name: str) -> str | None:
    """Return a part of our folder, or None where nothing can be kept."""
    place = folder()
    return None if place is None else str(place / name)


def c_function(function: Callable[..., Any], signature: Any, flags: frozenset[str] = FLAGS) -> Any:
    """Compile a function for one Numba signature as C would; its `.address` can be called.

    Code that many compiled functions use is compiled once this way, where calling it by name would
    compile it again inside each. Cached on disk; keep the result, or its code is freed.
    """
    numba()
    from tinytorch.native import kept  # which imports Numba

    options = {"fastmath": set(flags), "error_model": "numpy"}
    return kept.callback(function, signature, options, _part("c"))


def load_generated(source: str, name: str) -> ModuleType:
    """Run generated source as a module, from a file that Numba's cache can refer to.

    `name` must change with the content (end it with a hash): the file is kept under it in the
    cache folder, so a later process finds what an earlier one compiled. The names of the functions
    should carry the hash too, for Numba tells cached functions apart by file and name.
    """
    place = folder()
    module = ModuleType(f"tinytorch_generated_{name}")
    path = Path(f"<generated {name}>") if place is None else place / "generated" / f"{name}.py"
    module.__file__ = str(path)
    if place is not None and not _holds(path, source):
        write_whole(path, source)
    # NOTE: in sys.modules, for Numba looks a function's globals up there.
    sys.modules[module.__name__] = module
    linecache.cache[str(path)] = (len(source), None, source.splitlines(True), str(path))
    exec(compile(source, str(path), "exec"), module.__dict__)
    return module


def _holds(path: Path, source: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == source
    except (OSError, UnicodeDecodeError):
        return False


def assembly(compiled: Any, *args: Any) -> str:
    """Return the machine code, as text, of a compiled function for the types of `args`.

    It is compiled afresh, past the cache, whose entries don't carry their assembly.
    """
    module = numba()
    options = dict(compiled.targetoptions, parallel=False)
    fresh = module.njit(compiled.py_func, **{k: v for k, v in options.items() if k != "nopython"})
    signature = tuple(module.typeof(arg) for arg in args)
    fresh.compile(signature)
    return str(fresh.inspect_asm(signature))
