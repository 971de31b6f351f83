"""How far a score may be from the same model's on a CPU in float32, by what the numbers of the run are. A table.

A provider that is further off computes something else; golden tolerances below these figures will be missed.
"""

from collections.abc import Mapping

TOLERANCE: Mapping[str, float] = {
    # Sums in another order. TF32 is switched off where it can be.
    "float32": 1e-4,
    # TensorRT cannot be told to do without TF32: sums of products of 10-bit fractions.
    "tf32": 5e-3,
    # 10 bits of fraction too, rounded after every operation.
    "float16": 1e-2,
    # 7 bits of fraction, rounded after every operation.
    "bfloat16": 4e-2,
}
