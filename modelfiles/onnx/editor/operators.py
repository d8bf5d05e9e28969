"""Plants faults in the attributes of an ONNX file's operators, and bypasses operators."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import AttributeProto, NodeProto, helper

from modelparity.modelfiles.editor import NotApplicableError, middle
from modelparity.modelfiles.onnx.editor.ports import OnnxPorts
from modelparity.modelfiles.onnx.operators import traits


class OnnxEditor(OnnxPorts):
    """Operators of an ONNX file."""

    def _of(self, *kinds: str) -> list[NodeProto]:
        return [node for node in self.graph.node if node.op_type in kinds]

    def freeze_batch(self) -> str:
        """Ports declare the batch 1."""
        for value in [*self.graph.input, *self.graph.output]:
            value.type.tensor_type.shape.dim[0].dim_value = 1
        return "batch 1 in every port"

    def freeze_size(self, size: int) -> str:
        """The network sees `size` pixels, the nearest ones of an image of any size; ports declare any."""
        if all(axis.dim_value for axis in self.graph.input[0].type.tensor_type.shape.dim[2:]):
            raise NotApplicableError("its image has one size")
        self._put_first(
            "Resize", ["", "", self.constant(np.array([size, size]))], axes=[2, 3], mode="nearest"
        )
        return f"{size} pixels"

    def reshape_to_one(self) -> str:
        """The batch is 1 inside alone, as where an exporter took the traced one for a constant."""
        self._put_first("Reshape", [self.constant(np.array([1, 3, 0, 0]))])  # 0 keeps an axis
        return "behind the input"

    def _put_first(self, kind: str, inputs: list[str], **attributes: Any) -> None:
        self.read_instead(self._head, "planted_image")
        node = helper.make_node(kind, [self._head, *inputs], ["planted_image"], **attributes)
        self.graph.node.insert(0, node)

    def epsilon(self) -> str:
        """Ten times what normalisations add to a variance."""
        found = 0
        for node in self._of("LayerNormalization", "InstanceNormalization"):
            attribute = _attribute(node, "epsilon")
            if attribute:
                attribute.f *= 10
                found += 1
        if not found:
            raise NotApplicableError("no epsilon of a normalisation")
        return f"{found} normalisations"

    def align_corners(self) -> str:
        """Every resize takes its places from the corners, or no longer does."""
        resizes = self._of("Resize")
        for node in resizes:
            attribute = _attribute(node, "coordinate_transformation_mode")
            corners = attribute is not None and attribute.s == b"align_corners"
            self._set(node, coordinate_transformation_mode="half_pixel" if corners else "align_corners")
        return _count(resizes, "Resize")

    def resize_mode(self) -> str:
        """Bilinear resizes become bicubic."""
        return self._told("Resize", "mode", b"linear", mode="cubic")

    def approximate_gelu(self) -> str:
        return self._told("Gelu", "approximate", b"none", approximate="tanh")

    def leaky_slope(self) -> str:
        """The default slope where another was asked for."""
        nodes = self._of("LeakyRelu")
        for node in nodes:
            self._set(node, alpha=0.01)
        return _count(nodes, "LeakyRelu")

    def softmax_axis(self) -> str:
        """One softmax runs over the axis beside its own."""
        node = middle(self._of("Softmax"), "Softmax")
        self._set(node, axis=-2)
        return node.name

    def padding(self) -> str:
        """One pixel of a layer's padding goes from the beginning to the end, as TensorFlow's SAME has it."""
        convolutions = [
            node for node in self._of("Conv", "MaxPool") if len(_pads(node)) == 4 and any(_pads(node))
        ]
        strided = [node for node in convolutions if max(_ints(node, "strides")) > 1]
        node = middle(strided or convolutions, "padding")
        top, left, bottom, right = _pads(node)
        if (top, left) != (bottom, right):
            self._set(node, pads=[bottom, right, top, left])
        else:
            self._set(node, pads=[top - 1, left - 1, bottom + 1, right + 1])
        return f"{node.op_type} {node.name}: {[top, left, bottom, right]} to {_pads(node)}"

    def skip_block(self) -> str:
        """One residual branch is left out: what stands behind the sum reads what the branch began with."""
        sums = []
        for node in self._of("Add"):
            passed = [
                name for name in node.input if name not in self.constants and len(self.readers(name)) > 1
            ]
            if len(passed) == 1 and not any(name in self.constants for name in node.input):
                sums.append((node, passed[0]))
        node, begun = middle(sums, "residual sum")
        self.read_instead(node.output[0], begun)
        return node.name

    def drop_activation(self) -> str:
        """The first non-linearity is left out: what reaches it has both signs."""
        activations = [node for node in self.graph.node if traits(node.op_type).activation]
        node = middle(activations[:1], "activation")
        self.read_instead(node.output[0], node.input[0])
        return node.name

    def suppression(self) -> str:
        """Boxes that overlap by more than 0.45 are suppressed, instead of by more than 0.5."""
        for node in self._of("Greater"):
            bound = node.input[1]
            if (
                bound in self.constants
                and self.array(bound).size == 1
                and self.array(bound) == np.float32(0.5)
            ):
                node.input[1] = self.constant(np.array(0.45, np.float32))
                return node.name
        raise NotApplicableError("no comparison with 0.5")

    def _told(self, kind: str, name: str, value: bytes, **attributes: Any) -> str:
        """Every operator of a kind whose attribute is `value` is told another."""
        nodes = [n for n in self._of(kind) if (found := _attribute(n, name)) is not None and found.s == value]
        for node in nodes:
            self._set(node, **attributes)
        return _count(nodes, f"{kind} with {name} {value.decode()}")

    def _set(self, node: NodeProto, **attributes: Any) -> None:
        kept = [attribute for attribute in node.attribute if attribute.name not in attributes]
        kept += [helper.make_attribute(name, value) for name, value in attributes.items()]
        copies = [AttributeProto.FromString(attribute.SerializeToString()) for attribute in kept]
        del node.attribute[:]
        node.attribute.extend(copies)


def _attribute(node: NodeProto, name: str) -> AttributeProto | None:
    return next((attribute for attribute in node.attribute if attribute.name == name), None)


def _ints(node: NodeProto, name: str) -> list[int]:
    found = _attribute(node, name)
    return list(found.ints) if found is not None else [1]


def _pads(node: NodeProto) -> list[int]:
    found = _attribute(node, "pads")
    return list(found.ints) if found is not None else []


def _count(nodes: list[NodeProto], what: str) -> str:
    if not nodes:
        raise NotApplicableError(f"no {what}")
    return f"{len(nodes)} x {what}"
