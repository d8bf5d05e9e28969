"""Holds the Python code that runs an ONNX file on ONNX Runtime alone."""

from __future__ import annotations

from modelparity.modelfiles.usage import Usage

USAGE = Usage(
    open_file="""\
def _onnx(path, names, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda feed: dict(zip(names, session.run(names, feed)))
""",
    run_part="""\
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(MODEL), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]
""",
    load_detector="""\
import onnxruntime

session = onnxruntime.InferenceSession("{model}")
location, score, category = session.run(None, {{"image": image}})
""",
)
