"""TODO."""

from __future__ import annotations

from modelparity.converters.recipes import Format, KeepFloat

# Numbers are SQNR in dB against the float file, over 30 photographs, golden weights: with the entry
# "instead of" without it, the cell's other entries in place.
_ONNX_STAGES = ((64, 96), (96, 192), (192, 384))  # ObjectFormer's projections from stage to stage


_ONNX_LAST_STAGE = (384, 768)


_TFLITE_STAGES = ((96, 64), (192, 96), (384, 192))  # FULLY_CONNECTED stores [out, in]


_TFLITE_LAST_STAGE = (768, 384)


_TFLITE_HEAD = (1, 768)  # the score's own layer


_ONNX_FIRST = ((3, 1, 3, 3), (8, 3, 1, 1))  # Tiny-LaDeDa's gradient kernel and first layer


_TFLITE_FIRST = (8, 1, 1, 3)


# ChunkySeal's depthwise kernels, at 32 and at 1024 bits.
_ONNX_DEPTHWISE = tuple((width, 1, 7, 7) for width in (64, 128, 256, 512, 362, 724, 1448, 2896))


_SMALL = 100_000  # Faster R-CNN's layers up to here are 4 % of its weights, its last layers among them


# (model, format, quantization) -> what stays float.
KEEP_FLOAT: dict[tuple[str, Format, str], tuple[KeepFloat, ...]] = {
    ("objectformer", "onnx", "int8_dynamic"): (
        KeepFloat("Conv", "mask 25.4 instead of 22.8; as ConvInteger 1.2 of the float file's time, else 0.7"),
        KeepFloat(
            "Gemm", "the score's own layer: score 16.7 instead of 16.2, its worst image 9.4 instead of 6.6"
        ),
        KeepFloat("MatMul", "stage to stage: score 16.7 instead of 13.5", shapes=_ONNX_STAGES),
    ),
    ("objectformer", "onnx", "int8_static"): (
        KeepFloat("Conv", "mask 24.1 instead of 20.2: onnxruntime's int8 convolution has an int8 output"),
        KeepFloat("Gemm", "the score's own layer: score 17.6 instead of 14.7 on the gate's own stream"),
        KeepFloat(
            "MatMul",
            "stage to stage: mask 24.1 instead of 22.9, score 15.0 instead of 13.7",
            shapes=_ONNX_STAGES,
        ),
    ),
    ("objectformer", "tflite", "int8_dynamic"): (
        KeepFloat(
            "FULLY_CONNECTED",
            "stage to stage, and the score's layer: score 19.1 instead of 16.8",
            shapes=(*_TFLITE_STAGES, _TFLITE_LAST_STAGE, _TFLITE_HEAD),
        ),
    ),
    ("objectformer", "tflite", "int8_static"): (
        KeepFloat("CONV_2D", "mask 23.6 instead of 21.6"),
        KeepFloat("DEPTHWISE_CONV_2D", "mask 23.6 instead of 22.7, for 0.02 % of the weights"),
        KeepFloat(
            "FULLY_CONNECTED",
            "stage to stage, and the score's layer: mask 23.6 instead of 21.8",
            shapes=(*_TFLITE_STAGES, _TFLITE_HEAD),
        ),
    ),
    ("objectformer_detection", "onnx", "int8_dynamic"): (
        KeepFloat("Conv", "worst image 12.1 instead of 10.6, for 0.2 % of the weights"),
        KeepFloat("Gemm", "the score's own layer: 18.1 instead of 17.1, worst image 12.1 instead of 9.2"),
        KeepFloat("MatMul", "stage to stage: 18.1 instead of 13.5", shapes=(*_ONNX_STAGES, _ONNX_LAST_STAGE)),
    ),
    ("objectformer_detection", "onnx", "int8_static"): (
        KeepFloat("Conv", "score 15.7 instead of 12.9, for 0.2 % of the weights"),
        KeepFloat("Gemm", "the score's own layer: score 18.7 instead of 14.2 on the gate's own stream"),
        KeepFloat("MatMul", "stage to stage: 15.7 instead of 13.7", shapes=(*_ONNX_STAGES, _ONNX_LAST_STAGE)),
    ),
    ("objectformer_detection", "tflite", "int8_dynamic"): (
        KeepFloat("CONV_2D", "score 20.6 instead of 18.7, for 0.1 % of the weights"),
        KeepFloat("DEPTHWISE_CONV_2D", "score 20.6 instead of 19.0, for 0.02 % of the weights"),
        KeepFloat(
            "FULLY_CONNECTED",
            "stage to stage, and the score's layer: score 20.6 instead of 15.2",
            shapes=(*_TFLITE_STAGES, _TFLITE_LAST_STAGE, _TFLITE_HEAD),
        ),
    ),
    ("objectformer_detection", "tflite", "int8_static"): (
        KeepFloat("DEPTHWISE_CONV_2D", "score 15.9 instead of 13.0, for 0.02 % of the weights"),
        KeepFloat(
            "FULLY_CONNECTED",
            "stage to stage, and the score's layer: score 15.9 instead of 12.1",
            shapes=(*_TFLITE_STAGES, _TFLITE_LAST_STAGE, _TFLITE_HEAD),
        ),
    ),
    ("tiny_ladeda", "onnx", "int8_dynamic"): (
        KeepFloat("Conv", "gradient and first layer: patch_logits 27.6 instead of 25.6", shapes=_ONNX_FIRST),
    ),
    ("tiny_ladeda", "onnx", "int8_static"): (
        KeepFloat("Conv", "gradient and first layer: patch_logits 24.5 instead of 22.7", shapes=_ONNX_FIRST),
    ),
    ("tiny_ladeda", "tflite", "int8_dynamic"): (
        KeepFloat("DEPTHWISE_CONV_2D", "the gradient: patch_logits 28.7 instead of 27.5"),
        KeepFloat(
            "CONV_2D", "first layer: 1.3 of the float file's time instead of 1.8", shapes=(_TFLITE_FIRST,)
        ),
    ),
    ("tiny_ladeda", "tflite", "int8_static"): (
        KeepFloat("DEPTHWISE_CONV_2D", "the gradient: patch_logits 24.5 instead of 22.8"),
        KeepFloat("CONV_2D", "first layer: patch_logits 24.5 instead of 23.1", shapes=(_TFLITE_FIRST,)),
        KeepFloat("FULLY_CONNECTED", "int8 output ends at the calibrated range: a patch 0.73 off, else 0.35"),
    ),
    ("chunkyseal", "onnx", "int8_dynamic"): (
        KeepFloat(
            "Conv",
            "depthwise, for 2 % of the weights: 1.27 s an image instead of 1.74 as ConvInteger",
            shapes=_ONNX_DEPTHWISE,
        ),
    ),
    # Of Faster R-CNN, `matched` is the share of detections that have a partner, over 6 photographs.
    ("fasterrcnn", "onnx", "int8_dynamic"): (
        KeepFloat("Gemm", "the last layers: score 3.9 instead of 3.5", elements=_SMALL),
    ),
    ("fasterrcnn", "onnx", "int8_static"): (
        KeepFloat("Conv", "small: score 4.3 instead of -4.9, matched 0.84 instead of 0.69", elements=_SMALL),
    ),
    ("fasterrcnn", "tflite", "int8_dynamic"): (
        KeepFloat(
            "CONV_2D", "small: score 5.5 instead of 4.6, matched 0.84 instead of 0.82", elements=_SMALL
        ),
        KeepFloat("DEPTHWISE_CONV_2D", "with the small ones: score 5.5 instead of 4.6", elements=_SMALL),
        KeepFloat("FULLY_CONNECTED", "the last layers: score 4.6 instead of 4.3", elements=_SMALL),
    ),
    ("fasterrcnn", "tflite", "int8_static"): (
        KeepFloat(
            "CONV_2D", "small: score 4.3 instead of 3.6, matched 0.81 instead of 0.78", elements=_SMALL
        ),
        KeepFloat("DEPTHWISE_CONV_2D", "with the small ones: score 4.3 instead of 3.6", elements=_SMALL),
        KeepFloat(
            "FULLY_CONNECTED", "the last layers: score 4.3 instead of 3.6, with the others", elements=_SMALL
        ),
    ),
}
