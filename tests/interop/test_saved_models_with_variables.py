"""SavedModels with variables, as TensorFlow and Keras export them: both engines, one answer."""

from __future__ import annotations

import errno
import importlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sealserve.errors import Unimplemented
from sealserve.serving.capacity import plan
from sealserve.serving.engine import Executable
from sealserve.serving.engines.openvino import OpenVinoEngine
from sealserve.serving.formats.bundle import INDEX_NAME, Bundle
from sealserve.serving.life.servable import Loader, Servable
from sealserve.serving.opening.vault import Vault
from sealserve.serving.signature import Signature

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def tf() -> Any:
    return pytest.importorskip("tensorflow", reason="needs the package tensorflow")


def keras() -> Any:
    return importlib.import_module("keras")


def load(folder: Path) -> Servable:
    return Loader(OpenVinoEngine(plan(2)), Vault(None), ["serve"]).load("m", 1, str(folder))


def random_inputs(signature: Signature) -> dict[str, np.ndarray]:
    random = np.random.default_rng(7)
    inputs = {}
    for alias, spec in signature.inputs.items():
        shape = [3 if size is None else size for size in spec.shape or ()]
        if spec.dtype.kind == "f":
            inputs[alias] = random.standard_normal(shape).astype(spec.dtype)
        else:
            inputs[alias] = random.integers(0, 10, shape).astype(spec.dtype)
    return inputs


def assert_same(tf: Any, executable: Executable, theirs: Any) -> None:
    """Our outputs are those of TensorFlow's function for the same inputs, and not all alike."""
    inputs = random_inputs(executable.signature)
    wanted = theirs(**{alias: tf.constant(value) for alias, value in inputs.items()})
    found = executable.run(inputs)
    assert found.keys() == wanted.keys()
    for alias, value in found.items():
        assert np.ptp(value) > 0
        np.testing.assert_allclose(value, wanted[alias].numpy(), rtol=1e-4, atol=1e-5)


def module(tf: Any, folder: str) -> None:
    """Convolution and dense layers of a plain module; a variable in two places."""
    first = tf.Variable(tf.random.normal([3, 3, 1, 4]) / 3)
    second = tf.Variable(tf.random.normal([256, 3]) / 16, name="w")
    bias = tf.Variable([0.5, -0.5, 0.1])
    model = tf.Module()
    model.variables_of_mine = [first, second, bias]

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 1], tf.float32, name="x")])
    def probabilities(x):
        features = tf.nn.relu(tf.nn.conv2d(x, first, 1, "SAME"))
        return {"p": tf.nn.softmax(tf.reshape(features, [-1, 256]) @ second + bias) + bias}

    tf.saved_model.save(model, folder, signatures=probabilities)


def functional(tf: Any, folder: str) -> None:
    """Two inputs, normalisation that was trained, an embedding; Keras gives two names alike."""
    layers = keras().layers
    image, words = keras().Input((8, 8, 3)), keras().Input((5,), dtype="int32")
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(image))
    y = layers.Embedding(20, 6)(words)
    x = layers.Concatenate()([layers.Flatten()(x), layers.Flatten()(y)])
    model = keras().Model([image, words], layers.Dense(3)(layers.Dense(7, "relu")(x)))
    model.set_weights([w + np.random.default_rng(1).random(w.shape) for w in model.get_weights()])
    model.export(folder, verbose=False)


def recurrent(tf: Any, folder: str) -> None:
    """A loop that reads variables in its body."""
    layers = keras().layers
    sequence = keras().Input((None, 4))
    model = keras().Model(sequence, layers.Dense(2)(layers.LSTM(8)(sequence)))
    model.export(folder, verbose=False)


def branching(tf: Any, folder: str) -> None:
    """A condition, each side of which reads a variable of its own."""
    model = tf.Module()
    model.one = tf.Variable(tf.random.normal([4]))
    model.other = tf.Variable(tf.random.normal([4]))

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def either(x):
        if tf.reduce_sum(x) > 0:
            chosen = x * model.one
        else:
            chosen = x + model.other
        return {"y": chosen}

    tf.saved_model.save(model, folder, signatures=either)


def gathering(tf: Any, folder: str) -> None:
    """Rows of a variable by their numbers, and its shape."""
    model = tf.Module()
    model.rows = tf.Variable(tf.random.normal([11, 4]))

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.int32, name="which")])
    def look_up(which):
        count = tf.cast(tf.shape(model.rows)[0], tf.float32)
        return {"found": tf.gather(model.rows, which), "part": tf.cast(which, tf.float32) / count}

    tf.saved_model.save(model, folder, signatures=look_up)


def several(tf: Any, folder: str) -> None:
    """Two signatures over the same variables, of which one is of bfloat16."""
    model = tf.Module()
    model.w = tf.Variable(tf.random.normal([4, 2]))
    model.small = tf.Variable(tf.cast(tf.random.normal([2]), tf.bfloat16))
    spec = tf.TensorSpec([None, 4], tf.float32, name="x")
    plain = tf.function(lambda x: {"y": x @ model.w}, input_signature=[spec])
    biased = tf.function(
        lambda x: {"y": x @ model.w + tf.cast(model.small, tf.float32)}, input_signature=[spec]
    )
    signatures = {"serving_default": plain, "biased": biased}
    tf.saved_model.save(model, folder, signatures=signatures)


def version_1(tf: Any, folder: str, *, resource: bool) -> None:
    """A session's graph, with variables that are handles or references."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        w = v1.get_variable("w", [4, 2], use_resource=resource)
        b = v1.get_variable("b", initializer=[1.0, 2.0], use_resource=resource)
        y = tf.identity(x @ w + b, name="y")
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, folder, {"x": x}, {"y": y})


EXPORTS: dict[str, Callable[[Any, str], None]] = {
    "module": module,
    "keras functional": functional,
    "keras recurrent": recurrent,
    "branching": branching,
    "gathering": gathering,
    "several signatures": several,
    "version 1 resources": lambda tf, folder: version_1(tf, folder, resource=True),
    "version 1 references": lambda tf, folder: version_1(tf, folder, resource=False),
}


@pytest.mark.parametrize("export", EXPORTS.values(), ids=EXPORTS.keys())
def test_a_model_with_variables_answers_as_tensorflow_does(
    export: Callable[[Any, str], None], tf: Any, tmp_path: Path
) -> None:
    tf.random.set_seed(5)
    export(tf, str(tmp_path))
    assert (tmp_path / INDEX_NAME).exists()
    servable = load(tmp_path)
    loaded = tf.saved_model.load(str(tmp_path), tags=["serve"])
    for name in servable.definitions.signature_def:
        assert_same(tf, servable.executable(name), loaded.signatures[name])


@pytest.mark.parametrize("export", [functional, recurrent], ids=["functional", "recurrent"])
def test_it_does_so_too_where_there_are_no_files_in_memory(
    export: Callable[[Any, str], None], tf: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str, flags: int) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    export(tf, str(tmp_path))
    monkeypatch.setattr(os, "memfd_create", refuse)
    servable = load(tmp_path)
    loaded = tf.saved_model.load(str(tmp_path), tags=["serve"])
    assert_same(tf, servable.executable(""), loaded.signatures["serving_default"])


def test_a_model_that_counts_its_requests_is_refused(tf: Any, tmp_path: Path) -> None:
    model = tf.Module()
    model.count = tf.Variable(0.0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def counting(x):
        model.count.assign_add(1.0)
        return {"y": x + model.count}

    tf.saved_model.save(model, str(tmp_path), signatures=counting)
    with pytest.raises(Unimplemented, match="changes a variable while it answers") as caught:
        load(tmp_path)
    assert "--engine=tensorflow" in str(caught.value.hint)


def test_every_value_of_a_bundle_is_as_tensorflow_reads_it(tf: Any, tmp_path: Path) -> None:
    functional(tf, str(tmp_path))
    bundle = Bundle(
        (tmp_path / INDEX_NAME).read_bytes(), lambda name: (tmp_path / name).read_bytes()
    )
    reader = tf.train.load_checkpoint(str(tmp_path / "variables/variables"))
    types: Mapping[str, Any] = reader.get_variable_to_dtype_map()
    numbers = [key for key, dtype in types.items() if dtype != tf.string]
    assert len(numbers) > 5
    for key in numbers:
        value = bundle.value(key)
        wanted = reader.get_tensor(key)
        assert value.tensor_content == wanted.tobytes()
        assert [dim.size for dim in value.tensor_shape.dim] == list(wanted.shape)
