"""Says what of an ONNX graph is read as operators of floats, and has the parts of the reader.

Recognised, by structure:

- `QuantizeLinear` and the `DequantizeLinear` of the same scale and zero point behind it: a rounding;
- `DequantizeLinear` of a constant, `Cast` to float32 of a float16 one, `Transpose` of one: that constant;
- `DynamicQuantizeLinear` of a constant: its integers, computed here as a runtime does on loading;
- `DynamicQuantizeLinear`, `MatMulInteger` or `ConvInteger`, `Cast`, and `Mul` by the product of both
  scales: the `MatMul` or `Conv` of the floats;
- `QLinearConv`, `QLinearMatMul`, `QGemm`: the layer of the floats, its result rounded; what only moves
  integers keeps their scale and zero point;
- `DynamicQuantizeMatMul` and `MatMulIntegerToFloat`, of onnxruntime's optimizer: the `MatMul`;
- `Gather` of a table of integers, and `DequantizeLinear` or such a product behind it: the `Gather` of floats;
- onnxruntime's other operators of integers: the float operator, its result rounded (`qlinear`);
- `MatMulNBits`, and a `MatMul` of which onnxruntime makes one (`blocks`);
- `Cast` between float32 and float16: nothing; what is float16 behind it says so.

The bias of a `Conv` or a `Gemm` counts as the `Add` behind it, as integer forms have it there. Anything else
that reads integers stands for nothing and shows as a difference.
"""
