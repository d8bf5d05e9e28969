"""Holds the Python code that runs a TFLite file on LiteRT alone."""

from __future__ import annotations

from modelparity.modelfiles.usage import Usage

USAGE = Usage(
    open_file="""\
def _tflite(path, names, threads):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads)
    run = interpreter.get_signature_runner()
    return lambda feed: {name: value for name, value in run(**feed).items() if name in names}
""",
    run_part="""\
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        str(MODEL), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    interpreter.allocate_tensors()
    for number, detail in enumerate(interpreter.get_input_details()):
        interpreter.set_tensor(detail["index"], feeds[f"input_{number}"])
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
""",
    load_detector="""\
from ai_edge_litert.interpreter import Interpreter

run = Interpreter("{model}").get_signature_runner()
outputs = run(image=image)
location, score, category = (outputs[name] for name in ("location", "score", "category"))
""",
)
