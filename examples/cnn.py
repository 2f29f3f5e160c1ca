"""Train a convolutional network on MNIST with ``fit``, export it, serve it and query it.

::

    python examples/cnn.py          # about a minute on two cores, accuracy 0.98
    kmnist serve --models models/cnn
"""

import keras
from keras import layers

from kmnist import Client, Server, evaluate, export_model, load_dataset

dataset = load_dataset("mnist")
train, validation, test = dataset.train, dataset.validation, dataset.test

model = keras.Sequential(
    [
        keras.Input((*dataset.image_shape, 1)),
        layers.Rescaling(1 / 255),  # so that clients send bytes
        layers.Conv2D(16, 5, strides=2, activation="relu"),
        layers.Conv2D(32, 3, strides=2, activation="relu"),
        layers.Flatten(),
        layers.Dropout(0.3),
        layers.Dense(len(dataset.class_names)),
    ]
)
model.compile(
    "adam",
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
model.fit(
    train.images,
    train.labels,
    batch_size=100,
    epochs=3,
    validation_data=(validation.images, validation.labels),
    verbose=2,
)

folder = export_model(model, dataset, "models/cnn")
print(f"exported {folder}")
print(f"accuracy here:          {evaluate(model, test).accuracy:.4f}")

with (
    Server("models/cnn", grpc_port=0, rest_port=0) as server,
    Client(server.grpc_url, model="cnn") as client,
):
    answers = client.predict(test.images)
print(f"accuracy over the wire: {(answers.class_ids == test.labels).mean():.4f}")
