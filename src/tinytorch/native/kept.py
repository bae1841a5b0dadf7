"""Compiled functions from disk, without what only compiling needs.

Before Numba looks a function up in its cache it loads all that it could compile with: half its
modules, and SciPy where that is installed, for half a second and more; it compiles its runtime; and
when a function is declared it makes the folder where that could be kept. A function that is there
as machine code needs the addresses of that runtime's C functions, and nothing else of it. And with
the machine code Numba reads what other functions could inline of it, which takes longer. All that
is done when something is compiled.
"""

from __future__ import annotations

import functools
import gc
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding
from numba.core import config, entrypoints, errors, types
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.ccallback import CFunc
from numba.core.codegen import CodeLibrary, JITCodeLibrary
from numba.core.compiler import CompileResult
from numba.core.registry import CPUDispatcher
from numba.core.runtime import _nrt_python
from numba.np import numpy_support

# The machine code of a function: its name, an object file, that file's checksum, the names that it
# defines, and bitcode for whatever may inline it.
_Packed = tuple[str, bytes, int, frozenset[str], bytes]


class _Code(JITCodeLibrary):  # type: ignore[misc]
    """Machine code from an object file; its bitcode is read when something inlines it."""

    def __init__(self, codegen: Any, packed: _Packed) -> None:
        name, object_code, checksum, names, self._bitcode = packed
        # NOTE: not Numba's own constructor, which parses a module that would stay empty.
        CodeLibrary.__init__(self, codegen, name)
        if zlib.crc32(object_code) != checksum:  # LLVM ends the process over some damage
            raise ValueError(f"the machine code of {name} is damaged")
        self._linking_libraries: list[Any] = []
        engine = codegen._engine
        engine._ee.add_object_file(binding.ObjectFileRef.from_data(object_code))
        engine.finalize_object()
        engine._defined_symbols |= names
        self._finalized = self._disable_inspection = True

    @functools.cached_property
    def _shared_module(self) -> Any:
        return binding.parse_bitcode(self._bitcode)

    @property
    def _final_module(self) -> Any:
        return self._shared_module


def _packed(library: Any) -> _Packed:
    shared = library._get_module_for_linking()
    defined = [*shared.functions, *shared.global_variables]
    names = frozenset(each.name for each in defined if not each.is_declaration)
    code = library._get_compiled_object()
    return library.name, code, zlib.crc32(code), names, shared.as_bitcode()


class _Reader(CompileResultCacheImpl):  # type: ignore[misc]
    """How a form is kept, and made from what was kept."""

    def reduce(self, data: Any) -> Any:
        """Return a compiled form in parts that can be pickled."""
        described = data.fndesc
        described.typemap = described.calltypes = None
        own = data.environment, data.signature, data.reload_init
        return _packed(data.library), described, *own, tuple(data._find_referenced_environments())

    def rebuild(self, target_context: Any, payload: Any) -> Any:
        """Return the compiled form, ready to be called."""
        packed, described, environment, signature, initialisers, environments = payload
        for initialise in initialisers:
            initialise()
        codegen = target_context.codegen()
        library = _Code(codegen, packed)
        for each in environments:
            codegen.set_env(each.env_name, each)
        return CompileResult(
            target_context=target_context,
            typing_context=target_context.typing_context,
            library=library,
            environment=environment,
            entry_point=target_context.get_executable(library, described, environment),
            fndesc=described,
            type_annotation="",
            signature=signature,
            objectmode=False,
            lifted=(),
            typing_error=None,
            call_helper=None,
            metadata=None,
            reload_init=initialisers,
            referenced_envs=environments,
        )


@functools.cache
def _announce_runtime() -> None:
    """Tell LLVM where the functions of Numba's runtime are that are written in C."""
    for name, address in _nrt_python.c_helpers.items():
        binding.add_symbol(name if name.startswith("_") else f"NRT_{name}", address)


class _Forms(FunctionCache):  # type: ignore[misc]
    """The compiled forms of one function on disk."""

    _impl_class = _Reader

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the form for a signature, or None where it isn't there, or is damaged."""
        _announce_runtime()
        found = self._found(sig, target_context)
        if found is None:
            entrypoints.init_all()
        return found

    def _found(self, sig: Any, target_context: Any) -> Any:
        collects = gc.isenabled()
        gc.disable()  # what is loaded is many objects, and no garbage
        try:
            with self._guard_against_spurious_io_errors():
                return self._load_overload(sig, target_context)
        except Exception:  # of a damaged file, reading may raise anything
            self.flush()
        finally:
            if collects:
                gc.enable()


class _Kept:
    """The forms of one function in a folder, which is made when they are first asked for."""

    def __init__(self, function: Callable[..., Any], place: str) -> None:
        self._function, self._place = function, place

    @functools.cached_property
    def _forms(self) -> _Forms:
        before = config.CACHE_DIR
        config.CACHE_DIR = self._place
        try:
            return _Forms(self._function)
        finally:
            config.CACHE_DIR = before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._forms, name)


class _Function(CPUDispatcher):  # type: ignore[misc]
    """A function of `numba.njit` that is looked for on disk before it is compiled."""

    def _compilation_chain_init_hook(self) -> None:
        """Leave Numba's extensions until something is compiled."""

    def typeof_pyval(self, val: Any) -> Any:
        """Return the type of an argument; of an array, without loading masked ones to compare."""
        if type(val) is np.ndarray:
            try:
                dtype = numpy_support.from_dtype(val.dtype)
            except errors.NumbaNotImplementedError:
                return super().typeof_pyval(val)
            layout = numpy_support.map_layout(val)
            found = types.Array(dtype, val.ndim, layout, readonly=not val.flags.writeable)
            self._types_active_call.add(found)
            return found
        return super().typeof_pyval(val)


def keep(dispatcher: Any, place: str) -> None:
    """Have a function of `numba.njit` looked for in a folder before it is compiled, and kept."""
    dispatcher.__class__ = _Function
    dispatcher._cache = _Kept(dispatcher.py_func, place)


def callback(
    function: Callable[..., Any], signature: Any, options: dict[str, Any], place: str | None
) -> Any:
    """Return what `numba.cfunc` does, looked for in a folder first and kept there, if any."""
    made: Any = CFunc(function, (signature.args, signature.return_type), {}, options)
    if place is not None:
        made._cache = _Kept(function, place)
    made.compile()
    return made
