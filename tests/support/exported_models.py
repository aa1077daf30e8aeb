"""SavedModels that only TensorFlow can export and serve: variables, assets, tables, examples.

TensorFlow is handed in by the test that has it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

WORDS = ("cat", "dog", "bird")
CLASSES = (b"low", b"high")
CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def export_words(tf: Any, folder: Path, *, weights: int = 16) -> Path:
    """A TensorFlow 2 export with a table read from an asset, variables of `weights` squared
    numbers, and signatures for Predict, Classify and Regress."""
    vocabulary = folder.with_name(f"{folder.name}-vocabulary.txt")
    vocabulary.write_text("\n".join(WORDS) + "\n")
    numbers = np.random.default_rng(1).standard_normal((weights, weights), np.float32)
    module = tf.Module()
    module.vocabulary = tf.saved_model.Asset(str(vocabulary))
    module.table = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            module.vocabulary,
            *(tf.string, tf.lookup.TextFileIndex.WHOLE_LINE),
            *(tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER),
        ),
        default_value=-1,
    )
    module.weights = tf.Variable(numbers)
    module.slope = tf.Variable(2.5)

    def look(words: Any) -> Any:
        return {
            "ids": module.table.lookup(words),
            "upper": tf.strings.upper(words),
            "raw_bytes": words,
            "count": tf.size(words),
        }

    def dense(x: Any) -> Any:
        return {"y": tf.nn.softmax(tf.matmul(x, module.weights))}

    def parsed(inputs: Any) -> Any:
        return tf.io.parse_example(
            inputs,
            {
                "x": tf.io.FixedLenFeature([], tf.float32),
                "word": tf.io.FixedLenFeature([], tf.string, default_value=""),
            },
        )

    def classify(inputs: Any) -> Any:
        features = parsed(inputs)
        high = tf.sigmoid(features["x"] * module.slope)
        names = tf.tile(tf.constant([CLASSES]), [tf.size(high), 1])
        return {"classes": names, "scores": tf.stack([1 - high, high], axis=1)}

    def regress(inputs: Any) -> Any:
        features = parsed(inputs)
        ids = tf.cast(module.table.lookup(features["word"]), tf.float32)
        return {"outputs": tf.expand_dims(features["x"] * module.slope + ids, 1)}

    texts = tf.TensorSpec([None], tf.string)
    module.look = tf.function(look, input_signature=[texts])
    module.dense = tf.function(dense, [tf.TensorSpec([None, weights], tf.float32)])
    module.classify = tf.function(classify, [texts])
    module.regress = tf.function(regress, [texts])
    signatures = {"serving_default": module.look, "dense": module.dense}
    signatures |= {"classify": module.classify, "regress": module.regress}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    vocabulary.unlink()  # from here on there is the asset alone
    return folder


def export_first_generation(tf: Any, folder: Path) -> Path:
    """A TensorFlow 1 export: a session's graph, an initializer, signatures by their methods."""
    v1 = tf.compat.v1
    vocabulary = folder.with_name(f"{folder.name}-vocabulary.txt")
    vocabulary.write_text("\n".join(WORDS) + "\n")
    with tf.Graph().as_default(), v1.Session() as session:
        asset = tf.constant(str(vocabulary))
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, asset)
        table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                asset,
                *(tf.string, tf.lookup.TextFileIndex.WHOLE_LINE),
                *(tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER),
            ),
            default_value=-1,
        )
        examples = v1.placeholder(tf.string, [None], "examples")
        x = v1.io.parse_example(examples, {"x": tf.io.FixedLenFeature([1], tf.float32)})["x"]
        slope = v1.get_variable("slope", initializer=3.0)
        words = v1.placeholder(tf.string, [None], "words")
        ids, value = table.lookup(words), x * slope
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        tensor_info = v1.saved_model.utils.build_tensor_info
        signature = v1.saved_model.build_signature_def
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {
                "serving_default": signature(
                    {"words": tensor_info(words)},
                    {"ids": tensor_info(ids)},
                    "tensorflow/serving/predict",
                ),
                "value": signature(
                    {"inputs": tensor_info(examples)}, {"outputs": tensor_info(value)}, REGRESS
                ),
            },
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            main_op=v1.tables_initializer(),
        )
        builder.save()
    vocabulary.unlink()
    return folder


def export_counter(tf: Any, folder: Path) -> Path:
    """A variable that counts the answers, and complex numbers."""
    module = tf.Module()
    module.count = tf.Variable(0, dtype=tf.int64)

    def turn(z: Any) -> Any:
        return {"turned": z * tf.constant(1j, tf.complex64), "count": module.count.assign_add(1)}

    module.turn = tf.function(turn, [tf.TensorSpec([None], tf.complex64)])
    tf.saved_model.save(module, str(folder), signatures=module.turn)
    return folder


def export_half_plus(tf: Any, folder: Path, addend: float) -> Path:
    """x / 2 + `addend`: the model of TensorFlow Serving's guides, to predict and to regress."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        half, plus = v1.get_variable("a", initializer=0.5), v1.get_variable("b", initializer=addend)
        x = v1.placeholder(tf.float32, [None], "x")
        y = half * x + plus
        examples = v1.placeholder(tf.string, [None], "tf_example")
        parsed = v1.io.parse_example(examples, {"x": tf.io.FixedLenFeature([1], tf.float32)})
        result = half * parsed["x"] + plus
        session.run(v1.global_variables_initializer())
        tensor_info = v1.saved_model.utils.build_tensor_info
        signature = v1.saved_model.build_signature_def
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {
                "serving_default": signature(
                    {"x": tensor_info(x)}, {"y": tensor_info(y)}, "tensorflow/serving/predict"
                ),
                REGRESS: signature(
                    {"inputs": tensor_info(examples)}, {"outputs": tensor_info(result)}, REGRESS
                ),
            },
        )
        builder.save()
    return folder
