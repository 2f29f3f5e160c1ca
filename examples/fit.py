"""Train a convolutional network with Keras' `fit`, log it to MLflow, and export it.

    pip install mlflow
    python examples/fit.py [DATASET]

DATASET is what `kmnist-train --dataset` takes, by default mnist. Training stops when the validation
accuracy has not risen for two epochs, and the best weights are kept. `mlflow ui` shows the curves;
`kmnist serve --models models/fit` serves the version.
"""

import sys

import keras
import mlflow

from kmnist import export_model, load_dataset

keras.utils.set_random_seed(0)
dataset = load_dataset(sys.argv[1] if len(sys.argv) > 1 else "mnist")
print(dataset)

model = keras.Sequential(
    [
        keras.Input((*dataset.image_shape, 1)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
        keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(len(dataset.class_names), activation="softmax"),
    ]
)
model.compile(
    optimizer=keras.optimizers.Adam(3e-3),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
)

mlflow.keras.autolog(log_models=False)  # the version folder is the model
with mlflow.start_run():
    model.fit(
        dataset.train.batches(100, shuffle=True, seed=0),
        validation_data=dataset.validation.batches(1000),
        epochs=20,
        callbacks=[
            keras.callbacks.EarlyStopping(
                "val_accuracy", patience=2, mode="max", restore_best_weights=True
            )
        ],
        shuffle=False,  # the batches are shuffled
        verbose=2,
    )
    folder = export_model(model, dataset, "models/fit")
    mlflow.set_tag("version", folder.name)
    mlflow.log_artifact(str(folder / "model_card.json"))
print(folder)
