"""A program for a Python with onnx2tf and TensorFlow, of which it alone imports them; and no modelparity.

    python tensorflow_tool.py KIND MODEL.onnx FEEDS.npz FOLDER TARGET.tflite OUTPUT,OUTPUT

KIND starts with "onnx2tf", whose own files are taken then, or with "tensorflow", whose converter reads the
SavedModel that onnx2tf writes. Behind it comes what is quantized: float32, float16, dynamic, int8, int16x8.
"""

import sys
from pathlib import Path

_OF_ONNX2TF = {
    "float32": "float32",
    "float16": "float16",
    "dynamic": "dynamic_range_quant",
    "int8": "integer_quant",
    "int16x8": "integer_quant_with_int16_act",
}


def main(kind: str, model: str, feeds: str, folder: str, target: str, outputs: str) -> None:
    maker, form = kind.split("_")
    made = (onnx2tf_file if maker == "onnx2tf" else tensorflow_file)(form, model, feeds, Path(folder))
    Path(target).write_bytes(named(made, outputs.split(",")))


def onnx2tf_folder(model: str, feeds: str, folder: Path, *, integers: bool) -> Path:
    import numpy as np
    import onnx2tf

    written = folder / ("onnx2tf_integers" if integers else "onnx2tf")
    if not written.is_dir():
        images = np.load(feeds)
        options = {}
        if integers:
            calibration = []
            for name in images.files:
                np.save(folder / f"{name}.npy", images[name])
                calibration.append([name, str(folder / f"{name}.npy"), 0.0, 1.0])
            options = {
                "output_integer_quantized_tflite": True,
                "custom_input_op_name_np_data_path": calibration,
            }
        onnx2tf.convert(
            input_onnx_file_path=model,
            output_folder_path=str(written),
            keep_ncw_or_nchw_or_ncdhw_input_names=images.files,
            keep_shape_absolutely_input_names=images.files,
            output_signaturedefs=True,
            verbosity="error",
            **options,
        )
    return written


def onnx2tf_file(form: str, model: str, feeds: str, folder: Path) -> bytes:
    written = onnx2tf_folder(model, feeds, folder, integers=form not in ("float32", "float16"))
    return (written / f"{Path(model).stem}_{_OF_ONNX2TF[form]}.tflite").read_bytes()


def tensorflow_file(form: str, model: str, feeds: str, folder: Path) -> bytes:
    import numpy as np
    import tensorflow as tf

    saved = onnx2tf_folder(model, feeds, folder, integers=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
    if form != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if form == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if form in ("int8", "int16x8"):
        images = np.load(feeds)
        count = len(images[images.files[0]])
        converter.representative_dataset = lambda: (
            {name: images[name][i : i + 1] for name in images.files} for i in range(count)
        )
        sets = tf.lite.OpsSet
        int16 = sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.target_spec.supported_ops = [
            sets.TFLITE_BUILTINS_INT8 if form == "int8" else int16,
            sets.TFLITE_BUILTINS,
        ]
    return bytes(converter.convert())


def named(content: bytes, outputs: list[str]) -> bytes:
    """The file with one signature that names its outputs as the network does, by their order in the file."""
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    (graph,) = model.subgraphs[:1]
    signature = model.signatureDefs[0] if model.signatureDefs else schema.SignatureDefT()
    names = [port.name for port in signature.outputs or []]
    if sorted(n.decode() if isinstance(n, bytes) else n for n in names) != sorted(outputs):
        ports = []
        for name, index in zip(outputs, graph.outputs, strict=True):
            port = schema.TensorMapT()
            port.name, port.tensorIndex = name, index
            ports.append(port)
        signature.outputs = ports
    else:
        by_name = {p.name.decode() if isinstance(p.name, bytes) else p.name: p for p in signature.outputs}
        signature.outputs = [by_name[name] for name in outputs]
        graph.outputs = [port.tensorIndex for port in signature.outputs]
    if not signature.inputs:
        raise SystemExit("the file has no signature")
    model.signatureDefs = [signature]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


if __name__ == "__main__":
    main(*sys.argv[1:])
