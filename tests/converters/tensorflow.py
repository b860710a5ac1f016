"""TensorFlow: SavedModels of Keras and of modules, frozen graphs, TFLite, functions."""

from typing import Any

from tests.converters.case import Case

TF = (
    "import os; os.environ['KERAS_BACKEND'] = 'tensorflow'; "
    "os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'; "
    "import numpy as np, keras as k, tensorflow as tf; l, v1 = k.layers, tf.compat.v1; "
    "k.utils.set_random_seed(0)\n"
)
NET = TF + (
    "net = k.Sequential([k.Input((8, 8, 3), name='image'), l.Conv2D(4, 3, activation='relu'), "
    "l.BatchNormalization(), l.Flatten(), l.Dense(5, activation='softmax')])\n"
)
IMAGE = (("batch", 8, 8, 3),)
# A loop, a table and a print, in functions of one module.
MODULE = f"""{TF}
x, text = tf.TensorSpec([None, 4], name='x'), tf.TensorSpec([None], tf.string, name='text')

class Module(tf.Module):
    def __init__(self):
        self.scale = tf.Variable(1.5)
        words = tf.lookup.KeyValueTensorInitializer(
            ['the', 'zoo'], tf.constant([1, 2], tf.int64))
        self.table = tf.lookup.StaticHashTable(words, -1)

    @tf.function(input_signature=[x])
    def loop(self, x):
        for _ in tf.range(3):
            x = x * self.scale
        return {{'tripled': x, 'above': tf.nn.relu(x)}}

    @tf.function(input_signature=[text])
    def words(self, text):
        return {{'number': self.table.lookup(text)}}

    @tf.function(input_signature=[x])
    def printing(self, x):
        tf.print(x)
        return {{'y': x * self.scale}}

m = Module()

def make():
    return m.loop
"""
# In a file: TensorFlow reads the source of its functions.
NETS = f"open('nets.py', 'w').write({MODULE!r})\n"
SAVE = NETS + "from nets import m, tf\ntf.saved_model.save(m, 'm', "
SAVED = SAVE + "{'loop': m.loop, 'words': m.words})"
FROZEN = """
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
image = tf.TensorSpec([None, 8, 8, 3], name='image')
one = tf.function(lambda image: net(image, training=False)).get_concrete_function(image)
graph = convert_variables_to_constants_v2(one).graph.as_graph_def()
open('m.pb', 'wb').write(graph.SerializeToString())
"""
OLD = """
with tf.Graph().as_default(), v1.Session() as session:
    x = v1.placeholder(tf.float32, [None, 4], 'x')
    w = v1.get_variable('w', [4, 3], use_resource=False)
    y = tf.nn.softmax(tf.matmul(x, w))
    session.run(v1.global_variables_initializer())
    v1.saved_model.simple_save(session, 'm', {'x': x}, {'y': y})
"""
LITE = "c = tf.lite.TFLiteConverter.from_keras_model(net)\n"
INT8 = (
    "rows = np.random.default_rng(0).standard_normal((50, 1, 8, 8, 3)).astype('float32')\n"
    "c.optimizations = [tf.lite.Optimize.DEFAULT]\n"
    "c.representative_dataset = lambda: ([row] for row in rows)\n"
    "c.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]\n"
    "c.inference_input_type = c.inference_output_type = tf.int8\n"
)
WRITE = "open('m.tflite', 'wb').write(c.convert())"
PITCH = "basic_pitch/saved_models/icassp_2022/nmp"


def case(code: str, form: str = "tf-savedmodel", file: str = "m", **how: Any) -> Case:
    return Case(form, file, code, how, IMAGE, 1)


CASES = {
    "tensorflow": case(NET + "net.export('m', verbose=False)"),
    "tensorflow-lstm": case(
        TF + "k.Sequential([k.Input((7, 3)), l.LSTM(4), l.Dense(5)]).export('m', verbose=False)",
        opset=18,
    )._replace(inputs=(("batch", 7, 3),)),
    "tensorflow-1": case(TF + OLD)._replace(inputs=(("batch", 4),)),
    "tensorflow-loop": case(SAVED, options={"signature": "loop"})._replace(
        inputs=(("batch", 4),), outputs=2
    ),
    "tensorflow-words": case(SAVED, options={"signature": "words"})._replace(
        inputs=(("batch",),)
    ),
    "tensorflow-printing": case(
        SAVE + "m.printing)", "tf-savedmodel-code", trust=True
    )._replace(inputs=(("batch", 4),)),
    "tensorflow-graphdef": case(
        NET + FROZEN, "tf-graphdef", "m.pb", inputs=["image"], outputs=["Identity"]
    ),
    "tensorflow-lite": case(NET + LITE + WRITE, "tflite", "m.tflite"),
    "tensorflow-lite-int8": case(NET + LITE + INT8 + WRITE, "tflite", "m.tflite")._replace(
        labels=False, apart=2
    ),
    "tensorflow-lite-dequantized": case(
        NET + LITE + INT8 + WRITE, "tflite", "m.tflite", options={"dequantize": "true"}
    )._replace(labels=False, apart=8),
    "tensorflow-keras": case(
        NET + "net.save('m.keras')", "keras", "m.keras", from_="tensorflow", outputs=["scores"]
    ),
    "tensorflow-function": case(
        NETS,
        "factory",
        "nets:make",
        from_="tensorflow",
    )._replace(inputs=(("batch", 4),), outputs=2),
    "tensorflow-basic-pitch": case("", file=PITCH)._replace(
        inputs=(("batch", 43844, 1),), outputs=3, apart=1e-3, wheel="basic-pitch==0.4.0",
        words="Spotify's basic-pitch, a SavedModel",
    ),
    "tensorflow-basic-pitch-lite": case("", "tflite", f"{PITCH}.tflite")._replace(
        inputs=(("batch", 43844, 1),), outputs=3, apart=1e-3, wheel="basic-pitch==0.4.0",
        words="Spotify's basic-pitch, TFLite",
    ),
}  # fmt: skip
