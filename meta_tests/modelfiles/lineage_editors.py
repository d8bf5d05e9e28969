"""Plants faults in files: the same ones in both formats, through their own schemas only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import helper, numpy_helper

Array = np.ndarray[Any, Any]
SQUARE = (16, 16)


class OnnxEditor:
    """Keys are names of initializers."""

    channel_axis = 1

    def __init__(self, path: Path) -> None:
        self.path, self.model = path, onnx.load(path)
        self.graph = self.model.graph
        self.initializers = {tensor.name: tensor for tensor in self.graph.initializer}

    def save(self, target: Path) -> Path:
        onnx.save(self.model, target)
        return target

    def _one(self, shape: tuple[int, ...], *dtypes: str) -> str:
        found = (n for n in self.initializers if self.values(n).shape == shape)
        return next(n for n in found if str(self.values(n).dtype) in dtypes and not n.endswith("_point"))

    @property
    def square(self) -> str:
        return self._one(SQUARE, "int8", "float16", "float32")

    @property
    def kernel(self) -> str:
        return self._one((16, 8, 3, 3), "int8", "uint8")

    @property
    def bias(self) -> str:
        return self._one((16,), "int32")

    @property
    def floats(self) -> str:
        """A constant of the layer norm."""
        made = next(node for node in self.graph.node if node.op_type == "LayerNormalization")
        return str(made.input[1])

    def values(self, key: str) -> Array:
        return numpy_helper.to_array(self.initializers[key]).copy()

    def put(self, key: str, array: Array) -> None:
        self.initializers[key].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), key))

    def float_name(self, key: str) -> str:
        name = key.removesuffix("_quantized").removesuffix("_float16")
        if not name.endswith("_bias"):
            return name
        layer = name.removesuffix(
            "_bias"
        )  # the output's name: what makes it in the float file reads the bias
        float_file = onnx.load(self.path.with_name("network.onnx"))
        made = next(n for n in float_file.graph.node if n.output[0] == layer.removesuffix("_unrounded"))
        return str(made.input[2])

    def _beside(self, key: str, suffix: str) -> str:
        return key.removesuffix("_quantized") + suffix

    def scale(self, key: str) -> Array:
        return self.values(self._beside(key, "_scale"))

    def put_scale(self, key: str, scale: Array) -> None:
        self.put(self._beside(key, "_scale"), scale)

    def along_channels(self, key: str, scale: Array) -> Array:
        return scale.reshape(1, -1)

    def zero_point(self, key: str) -> Array:
        return self.values(self._beside(key, "_zero_point"))

    def put_zero_point(self, key: str, zero_point: Array) -> None:
        self.put(self._beside(key, "_zero_point"), zero_point)

    def _nodes(self, *kinds: str) -> list[onnx.NodeProto]:
        return [node for node in self.graph.node if node.op_type in kinds]

    def shift_activation(self, zero_point: int, factor: float) -> str:
        made = self._nodes("QuantizeLinear")[1]
        self.put(made.input[1], self.values(made.input[1]) * np.float32(factor))
        self.put(made.input[2], (self.values(made.input[2]) + zero_point).astype(np.uint8))
        return str(made.input[1]).removesuffix("_scale")

    @classmethod
    def attributes(cls, path: Path) -> Iterator[tuple[OnnxEditor, str]]:
        for kinds, name, change in (
            (("LayerNormalization",), "epsilon", lambda value: value * 2),
            (("Conv", "ConvInteger"), "pads", lambda value: [0, 0, 2, 2]),
            (("LeakyRelu",), "alpha", lambda value: value + 0.01),
        ):
            editor = cls(path)
            for attribute in editor._nodes(*kinds)[0].attribute:
                if attribute.name == name:
                    value = change(helper.get_attribute_value(attribute))
                    attribute.CopyFrom(helper.make_attribute(name, value))
            yield editor, name

    @classmethod
    def skip(cls, path: Path) -> Iterator[tuple[OnnxEditor, str]]:
        editor = cls(path)
        (skipped,) = editor._nodes("LeakyRelu")
        editor._read(skipped.output[0], skipped.input[0])
        yield editor, "LeakyRelu"

    def _read(self, old: str, new: str) -> None:
        for node in self.graph.node:
            node.input[:] = [new if name == old else name for name in node.input]

    @classmethod
    def drop_bias(cls, path: Path) -> Iterator[tuple[OnnxEditor, str]]:
        editor = cls(path)
        if convolutions := editor._nodes("Conv"):
            del convolutions[0].input[2:]
        else:
            dropped = editor._nodes("Add")[0]
            editor._read(dropped.output[0], dropped.input[0])
        yield editor, "but should read"

    @classmethod
    def wrong_wire(cls, path: Path) -> Iterator[tuple[OnnxEditor, str]]:
        """The residual is added behind the norm instead of in front of it."""
        editor = cls(path)
        (norm,) = editor._nodes("LayerNormalization")
        for node in editor._nodes("Add"):
            node.input[:] = [norm.output[0] if name == norm.input[0] else name for name in node.input]
        yield editor, "LayerNormalization"

    @classmethod
    def swap_names(cls, path: Path) -> Iterator[tuple[OnnxEditor, str]]:
        editor = cls(path)
        one, other = editor.graph.output
        kept = onnx.ValueInfoProto()
        kept.CopyFrom(one)
        one.CopyFrom(other)
        other.CopyFrom(kept)
        yield editor, "outputs are other, one"

    def cross_outputs(self) -> None:
        crossed = {"one": "other", "other": "one"}
        for node in self.graph.node:
            node.output[:] = [crossed.get(name, name) for name in node.output]

    def other_scale(self) -> None:
        first, second = self._nodes("DynamicQuantizeLinear")[:2]
        for node in self._nodes("Mul"):
            node.input[:] = [first.output[1] if name == second.output[1] else name for name in node.input]

    def unpaired(self) -> None:
        first = self._nodes("QuantizeLinear")[1]
        made = next(n for n in self._nodes("DequantizeLinear") if n.input[0] == first.output[0])
        other = numpy_helper.from_array(self.values(first.input[1]) * np.float32(1.02), "another scale")
        self.graph.initializer.append(other)
        made.input[1] = "another scale"


class TfliteEditor:
    """Keys are indices of tensors."""

    channel_axis = 0

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = schema.ModelT.InitFromPackedBuf(bytearray(path.read_bytes()), 0)
        (self.graph,) = self.model.subgraphs
        self.types = {code: name for name, code in vars(schema.TensorType).items() if name.isupper()}
        names = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
        self._kinds = [names[max(c.builtinCode, c.deprecatedBuiltinCode)] for c in self.model.operatorCodes]

    @property
    def kinds(self) -> set[str]:
        return {self._kinds[operator.opcodeIndex] for operator in self.graph.operators}

    def save(self, target: Path) -> Path:
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        target.write_bytes(bytes(builder.Output()))
        return target

    def save_apart(self, target: Path, key: int) -> Path:
        """With the numbers of one tensor behind the flatbuffer, as in files above 2 GiB."""
        buffer = self.model.buffers[self.graph.tensors[key].buffer]
        data, buffer.data = bytes(buffer.data), None
        buffer.offset, buffer.size = 1 << 32, len(data)  # a default would not be written
        end = -(-self.save(target).stat().st_size // 16) * 16
        buffer.offset = end
        self.save(target)
        target.write_bytes(target.read_bytes().ljust(end, b"\0") + data)
        return target

    def _data(self, key: int) -> Any:
        return self.model.buffers[self.graph.tensors[key].buffer].data

    def _one(self, shape: tuple[int, ...], *dtypes: str) -> int:
        for key, tensor in enumerate(self.graph.tensors):
            same = tuple(tensor.shape) == shape and self.types[tensor.type] in dtypes
            if same and self._data(key) is not None:
                return key
        raise LookupError(shape)

    @property
    def square(self) -> int:
        return self._one(SQUARE, "INT8", "FLOAT16", "FLOAT32")

    @property
    def kernel(self) -> int:
        return self._one((16, 3, 3, 8), "INT8")

    @property
    def bias(self) -> int:
        made = next(operator for operator in self.graph.operators if self.kernel in operator.inputs)
        return int(made.inputs[2])

    @property
    def floats(self) -> int:
        """What the layer norm multiplies by."""
        made = next(
            operator for operator in self._operators("MUL") if self._data(operator.inputs[1]) is not None
        )
        return int(made.inputs[1])

    def values(self, key: int) -> Array:
        tensor = self.graph.tensors[key]
        dtype = self.types[tensor.type].lower()
        return np.asarray(self._data(key), np.uint8).view(dtype).reshape(tensor.shape).copy()

    def put(self, key: int, array: Array) -> None:
        data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        self.model.buffers[self.graph.tensors[key].buffer].data = data

    def float_name(self, key: int) -> str:
        return str(self.graph.tensors[key].name.decode())

    def scale(self, key: int) -> Array:
        return np.asarray(self.graph.tensors[key].quantization.scale, np.float32).copy()

    def put_scale(self, key: int, scale: Array) -> None:
        self.graph.tensors[key].quantization.scale = scale

    def along_channels(self, key: int, scale: Array) -> Array:
        return scale.reshape(-1, 1)

    def zero_point(self, key: int) -> Array:
        return np.asarray(self.graph.tensors[key].quantization.zeroPoint)

    def put_zero_point(self, key: int, zero_point: Array) -> None:
        self.graph.tensors[key].quantization.zeroPoint = zero_point

    def _operators(self, *kinds: str) -> list[Any]:
        return [o for o in self.graph.operators if self._kinds[o.opcodeIndex] in kinds]

    def shift_activation(self, zero_point: int, factor: float) -> str:
        key = next(k for k in self._operators("CONV_2D")[1].outputs)
        self.put_zero_point(key, self.zero_point(key) + zero_point)
        self.put_scale(key, self.scale(key) * np.float32(factor))
        return self.float_name(key)

    def scale_output_of(self, kind: str, factor: float) -> None:
        (key,) = self._operators(kind)[0].outputs
        self.put_scale(key, self.scale(key) * np.float32(factor))

    @classmethod
    def attributes(cls, path: Path) -> Iterator[tuple[TfliteEditor, str]]:
        for kind, name, value in (
            ("CONV_2D", "padding", 1),
            ("CONV_2D", "fusedActivationFunction", 3),
            ("LEAKY_RELU", "alpha", 0.11),
        ):
            editor = cls(path)
            setattr(editor._operators(kind)[0].builtinOptions, name, value)
            yield editor, name

    @classmethod
    def skip(cls, path: Path) -> Iterator[tuple[TfliteEditor, str]]:
        editor = cls(path)
        (skipped,) = editor._operators("LEAKY_RELU")
        editor._read(skipped.outputs[0], skipped.inputs[0], *editor.graph.operators)
        yield editor, "LEAKY_RELU"

    def _read(self, old: int, new: int, *readers: Any) -> None:
        for operator in readers:
            operator.inputs = [new if index == old else index for index in operator.inputs]

    @classmethod
    def drop_bias(cls, path: Path) -> Iterator[tuple[TfliteEditor, str]]:
        editor = cls(path)
        convolution = editor._operators("CONV_2D")[0]
        convolution.inputs = [*convolution.inputs[:2], -1]
        yield editor, "reads nothing"

    @classmethod
    def wrong_wire(cls, path: Path) -> Iterator[tuple[TfliteEditor, str]]:
        """The layer norm squares a difference from something else."""
        editor = cls(path)
        squared = editor._operators("SQUARED_DIFFERENCE")[0]
        squared.inputs = [squared.inputs[0], squared.inputs[0]]
        yield editor, "but should read"

    @classmethod
    def swap_names(cls, path: Path) -> Iterator[tuple[TfliteEditor, str]]:
        editor = cls(path)
        (signature,) = editor.model.signatureDefs
        one, other = signature.outputs
        one.name, other.name = other.name, one.name
        yield editor, "outputs are other, one"

    def cross_outputs(self) -> None:
        """Exchanges the tensors behind the names, and their places."""
        (signature,) = self.model.signatureDefs
        one, other = signature.outputs
        one.tensorIndex, other.tensorIndex = other.tensorIndex, one.tensorIndex
        self.graph.outputs = list(self.graph.outputs)[::-1]
