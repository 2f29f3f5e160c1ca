"""A ``saved_model.pb`` that loads faster.

TensorFlow stores the shape of each result, which it infers again when it loads the graph, names that
repeat the scopes of the code, and a constant for each time that the code has a number. They are more
than half of the file: without this step TensorFlow Serving takes 1.3 times the processor time to load
a version, and ``kmnist serve`` twice.

A server optimizes a graph for each signature at its first request, in the warm-up: half a second for a
graph that reads pictures. Functions that are not to be inlined are left as they are.
"""

import os
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from itertools import count
from pathlib import Path
from typing import Final

from tensorflow.core.framework.function_pb2 import FunctionDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.protobuf.config_pb2 import ConfigProto
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from kmnist.errors import ExportError

__all__ = ["UNOPTIMIZED", "compact_saved_model"]

# The attributes of a tf.function: of the functions that are not inlined, TensorFlow's optimizer leaves
# those of tf.data and all that they call.
UNOPTIMIZED: Final = {"_noinline": True, "_tf_data_function": True}

_COLOCATED: Final = b"loc:@"
_PYTHON: Final = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
_CONDITIONS: Final = {"If", "StatelessIf", "Case", "StatelessCase"}


def compact_saved_model(folder: Path) -> None:
    """Remove from the functions of a SavedModel the shapes of results, long names and repetitions.

    All operations but equal constants, and so the answers, stay the same. So do the names of the
    functions, and those of tensors that the objects of the SavedModel refer to. Servers run functions
    traced with ``UNOPTIMIZED``, and conditions, as they are written.

    Args:
        folder: The folder of the SavedModel, whose ``fingerprint.pb`` is written again.

    Raises:
        ExportError: A function calls Python, which no server can.
        OSError: It cannot be read or written.
    """
    # TensorFlow has no public function that writes it.
    from tensorflow.python.saved_model.fingerprinting_utils import write_fingerprint

    path = folder / "saved_model.pb"
    saved = SavedModel.FromString(path.read_bytes())
    for graph in saved.meta_graphs:
        captured = {
            node.captured_tensor.name.partition(":")[0]
            for node in graph.object_graph_def.nodes
            if node.HasField("captured_tensor")
        }
        functions = {each.signature.name: each for each in graph.graph_def.library.function}
        for function in functions.values():
            if any(node.op in _PYTHON for node in function.node_def):
                raise ExportError(
                    "a layer of the model calls Python (tf.py_function or tf.numpy_function), which no "
                    "server can: use operations of keras.ops or TensorFlow; nothing was published"
                )
            _compact(function, captured)
        _keep_as_written(functions)
    path.write_bytes(saved.SerializeToString(deterministic=True))
    write_fingerprint(os.fspath(folder))


def _compact(function: FunctionDef, captured: AbstractSet[str]) -> None:
    taken = captured | {argument.name for argument in function.signature.input_arg}
    unused = (name for name in map("n{}".format, count()) if name not in taken)
    names: dict[str, str] = {}
    constants: dict[bytes, str] = {}
    kept = []
    for node in function.node_def:
        node.attr.pop("_output_shapes", None)
        name = node.name if node.name in captured else next(unused)
        if (
            node.op == "Const"
            and not node.input
            and "_class" not in node.attr
            and name != node.name
        ):
            bare = NodeDef(device=node.device, attr=node.attr)
            key = bare.SerializeToString(deterministic=True)
            if key in constants:
                names[node.name] = constants[key]
                continue
            constants[key] = name
        names[node.name] = name
        kept.append(node)

    def renamed(reference: str) -> str:
        """Rename the node in "node:output:0" or "^node"; an argument keeps its name."""
        node, colon, output = reference.removeprefix("^").partition(":")
        return f"{'^' * reference.startswith('^')}{names.get(node, node)}{colon}{output}"

    for node in kept:
        node.name = names[node.name]
        node.input[:] = [renamed(reference) for reference in node.input]
        places = node.attr["_class"].list.s if "_class" in node.attr else []
        for index, place in enumerate(places):
            if place.startswith(_COLOCATED):
                other = place.removeprefix(_COLOCATED).decode()
                places[index] = _COLOCATED + names.get(other, other).encode()
    del function.node_def[:]
    function.node_def.extend(kept)
    for results in (function.ret, function.control_ret):
        for result, reference in list(results.items()):
            results[result] = renamed(reference)


def _keep_as_written(functions: Mapping[str, FunctionDef]) -> None:
    """Exempt calls of ``UNOPTIMIZED`` functions from optimization, and conditions from lowering."""
    apart = {name for name, function in functions.items() if "_noinline" in function.attr}
    config = ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    for function in functions.values():
        for node in function.node_def:
            if "f" in node.attr and node.attr["f"].func.name in apart:
                node.attr["config_proto"].s = config.SerializeToString()
            elif node.op in _CONDITIONS:
                # Lowered, the nodes of every branch are visited, whichever is taken.
                node.attr["_lower_using_switch_merge"].b = False
