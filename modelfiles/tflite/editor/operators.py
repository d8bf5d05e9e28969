"""Plants faults in the options of a TFLite file's operators, and bypasses operators."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from modelparity.modelfiles.editor import NotApplicableError, middle
from modelparity.modelfiles.tflite.editor.ports import TflitePorts
from modelparity.modelfiles.tflite.operators import OPERATORS, traits

_CONVOLUTIONS = [kind for kind, of in OPERATORS.items() if of.convolution]
_LEAST_VARIANCE = 1e-3  # a scalar below it, added in front of a root, is an epsilon


class TfliteEditor(TflitePorts):
    """Operators of a TFLite file."""

    def freeze_batch(self) -> str:
        raise NotApplicableError("its batch is 1")

    def reshape_to_one(self) -> str:
        raise NotApplicableError("its batch is 1")

    def freeze_size(self, size: int) -> str:
        del size
        raise NotApplicableError("its image has one size")

    def epsilon(self) -> str:
        """Ten times what normalisations add to a variance."""
        handles = set()
        for root in self.of("RSQRT", "SQRT"):
            for maker in self.of("ADD"):
                if int(root.inputs[0]) in maker.outputs:
                    handles |= {int(index) for index in maker.inputs if self._is_epsilon(int(index))}
        if not handles:
            raise NotApplicableError("no epsilon of a normalisation")
        for handle in handles:
            self.store(handle, self.array(handle) * np.float32(10))
        return f"{len(handles)} constants"

    def _is_epsilon(self, handle: int) -> bool:
        if not self.is_constant(handle) or self.graph.tensors[handle].type != schema.TensorType.FLOAT32:
            return False
        value = self.array(handle)
        return value.size == 1 and 0 < float(value.reshape(-1)[0]) < _LEAST_VARIANCE

    def align_corners(self) -> str:
        """Every resize takes its places from the corners, or no longer does."""
        resizes = self.of("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
        for operator in resizes:
            options = operator.builtinOptions
            options.alignCorners = not options.alignCorners
            options.halfPixelCenters = not options.alignCorners
        return _count(resizes, "resize")

    def resize_mode(self) -> str:
        """Bilinear resizes take the nearest pixel: the format has no bicubic."""
        resizes = self.of("RESIZE_BILINEAR")
        for operator in resizes:
            before = operator.builtinOptions
            self.add(
                "RESIZE_NEAREST_NEIGHBOR",
                operator.inputs,
                self.shape(int(operator.outputs[0])),
                alignCorners=before.alignCorners,
                halfPixelCenters=before.halfPixelCenters,
            )
            made = self.graph.operators.pop()
            made.outputs = operator.outputs
            self.graph.operators[self.graph.operators.index(operator)] = made
        return _count(resizes, "RESIZE_BILINEAR")

    def approximate_gelu(self) -> str:
        exact = [operator for operator in self.of("GELU") if not operator.builtinOptions.approximate]
        for operator in exact:
            operator.builtinOptions.approximate = True
        return _count(exact, "GELU")

    def leaky_slope(self) -> str:
        """The default slope where another was asked for."""
        leaky = self.of("LEAKY_RELU")
        for operator in leaky:
            operator.builtinOptions.alpha = 0.01
        return _count(leaky, "LEAKY_RELU")

    def softmax_axis(self) -> str:
        """One softmax runs over the axis beside its own, by way of transposes: it knows the last alone."""
        operator = middle(self.of("SOFTMAX"), "SOFTMAX")
        place = self.graph.operators.index(operator)
        shape = self.shape(int(operator.inputs[0]))
        swap = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
        order = self.constant(np.array(swap, np.int32))
        turned = [shape[axis] for axis in swap]
        first = self.add("TRANSPOSE", [int(operator.inputs[0]), order], turned)
        before = self.graph.operators.pop()
        operator.inputs, made = [first], self.tensor(turned, np.dtype(np.float32))
        target, operator.outputs = operator.outputs, [made]
        self.add("TRANSPOSE", [made, order], shape)
        after = self.graph.operators.pop()
        after.outputs = target
        self.graph.operators[place : place + 1] = [before, operator, after]
        return f"operator {place}"

    def padding(self) -> str:
        """One pixel of a layer's padding goes from the beginning to the end, as TensorFlow's SAME has it."""
        pads = [operator for operator in self.of("PAD", "PADV2") if self._feeds_a_convolution(operator)]
        if pads:
            operator = middle(pads, "padding")
            amounts = self.array(int(operator.inputs[1]))
            moved = (
                amounts[:, ::-1]
                if (amounts[:, 0] != amounts[:, 1]).any()
                else amounts + _towards_end(amounts)
            )
            operator.inputs = [int(operator.inputs[0]), self.constant(moved), *operator.inputs[2:]]
            return f"{amounts.tolist()} to {moved.tolist()}"
        same = [operator for operator in self.of(*_CONVOLUTIONS) if self._pads_itself(operator)]
        operator = middle(same, "padding")
        source, kernel = int(operator.inputs[0]), self.shape(int(operator.inputs[1]))
        total = np.array([[0, 0], *([(k - 1) // 2] * 2 for k in kernel[1:3]), [0, 0]], np.int32)
        moved = total + _towards_end(total)
        shape = [n + int(more) for n, more in zip(self.shape(source), moved.sum(axis=1), strict=True)]
        padded = self.add("PAD", [source, self.constant(moved)], shape)
        self.graph.operators.insert(self.graph.operators.index(operator), self.graph.operators.pop())
        operator.inputs = [padded, *operator.inputs[1:]]
        operator.builtinOptions.padding = schema.Padding.VALID
        return f"{total.tolist()} to {moved.tolist()}"

    def _feeds_a_convolution(self, operator: Any) -> bool:
        return any(self.kind(reader) in _CONVOLUTIONS for reader in self.readers(int(operator.outputs[0])))

    def _pads_itself(self, operator: Any) -> bool:
        """With stride 1 and an odd kernel: as much in front as behind."""
        options, kernel = operator.builtinOptions, self.shape(int(operator.inputs[1]))[1:3]
        plain = (
            options.strideH == options.strideW == 1
            and max(options.dilationHFactor, options.dilationWFactor) == 1
        )
        return bool(
            options.padding == schema.Padding.SAME
            and plain
            and min(kernel) > 1
            and all(k % 2 for k in kernel)
        )

    def skip_block(self) -> str:
        """One residual branch is left out: what stands behind the sum reads what the branch began with."""
        sums = []
        for operator in self.of("ADD"):
            inputs = [int(index) for index in operator.inputs]
            passed = [index for index in inputs if len(self.readers(index)) > 1]
            if len(passed) == 1 and not any(map(self.is_constant, inputs)):
                sums.append((int(operator.outputs[0]), passed[0]))
        same = [(made, begun) for made, begun in sums if self.shape(made) == self.shape(begun)]
        made, begun = middle(same, "residual sum")
        self.read_instead(made, begun)
        return f"tensor {made}"

    def drop_activation(self) -> str:
        """The first non-linearity is left out, fused or not: what reaches it has both signs."""
        for place, operator in enumerate(self.graph.operators):
            if traits(self.kind(operator)).activation:
                self.read_instead(int(operator.outputs[0]), int(operator.inputs[0]))
                return f"operator {place}"
            if self.kind(operator) in _CONVOLUTIONS and operator.builtinOptions.fusedActivationFunction:
                operator.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.NONE
                return f"fused into operator {place}"
        raise NotApplicableError("no activation")

    def suppression(self) -> str:
        """Boxes that overlap by more than 0.45 are suppressed, instead of by more than 0.5."""
        for operator in self.of("GREATER"):
            bound = int(operator.inputs[1])
            if (
                self.is_constant(bound)
                and self.array(bound).size == 1
                and self.array(bound) == np.float32(0.5)
            ):
                operator.inputs = [int(operator.inputs[0]), self.constant(np.array(0.45, np.float32))]
                return f"operator {self.graph.operators.index(operator)}"
        raise NotApplicableError("no comparison with 0.5")


def _towards_end(amounts: Any) -> Any:
    """What moves one from the beginning to the end of every axis that is padded in front, [axes, 2]."""
    one = (amounts[:, 0] > 0).astype(amounts.dtype)
    return np.stack([-one, one], axis=1)


def _count(operators: list[Any], what: str) -> str:
    if not operators:
        raise NotApplicableError(f"no {what}")
    return f"{len(operators)} x {what}"
