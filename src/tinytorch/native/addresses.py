"""The typed pointers that compiled code makes of addresses.

What passes between Python and the routines is an address of bytes: one compiled form serves arrays
of every type and layout. Nothing here checks bounds.
"""

from __future__ import annotations

from tinytorch.native.gemm.pointers import intrinsic, types


def _pointer_to(kind):
    """Make an intrinsic that turns an address into a pointer to `kind`."""

    @intrinsic
    def pointer(typing_context, address):
        def generate(context, builder, signature, args):
            return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

        return types.CPointer(kind)(types.int64), generate

    return pointer


bytes_at = _pointer_to(types.uint8)
codes_at = _pointer_to(types.int8)
words_at = _pointer_to(types.int16)
ints_at = _pointer_to(types.int32)
longs_at = _pointer_to(types.int64)
floats_at = _pointer_to(types.float32)
