"""The claim that should notice each planted fault first."""

from __future__ import annotations

from modelparity.parity.mutation.catalogue import FAULTS

# The claim that should notice a fault first, in a float file and in an int8 one.
SEEN_BY = {
    **dict.fromkeys(FAULTS, "float_parity"),
    **dict.fromkeys(
        (
            "outputs_swapped",
            "outputs_reordered",
            "output_renamed",
            "output_missing",
            "float64",
            "batch_frozen",
        ),
        "interface",
    ),
    "batch_frozen_inside": "batch",
    "nan_for_one_input": "finite",
    "nan_for_black": "generated_inputs",
    "noise_left_on": "repeatable",
    "truncated": "loads",
    "int8_label": "precision",
    "half_label": "precision",
}
SEEN_IN_INT8 = {
    **dict.fromkeys((name for name, fault in FAULTS.items() if "int8_static" in fault.on), "lineage_weights"),
    "activation_zero_point": "lineage_ranges",
    "activation_read_otherwise": "lineage_graph",
    "flipped_byte": "lineage_weights",
    "float_weights": "precision",
    "truncated": "loads",
}
SEEN_IN_FLOAT16 = {
    **dict.fromkeys((name for name, fault in FAULTS.items() if "fp16" in fault.on), "lineage_weights"),
    "float_weights": "precision",
    "truncated": "loads",
}
