"""Several workers on this machine: an epoch beside its floor, the weights, and the memory."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from benchmarks.datasets import write_copies
from benchmarks.harness import ROOT, Options, memory, run, spread, table
from kmnist.training.cluster import Cluster, free_addresses, own_cores

COLUMNS: Final = "batch | workers | an epoch, s | all-reduces, s | compute, s | the epoch takes"
LEARNING: Final = "batch | learning rate | test accuracy after 15 epochs"

EPOCHS: Final = 6

# Per batch size, learning rates up to the linear rule, 0.1 for a batch of 100.
RATES: Final = {100: (0.1,), 1_000: (0.1, 0.5, 1.0), 10_000: (0.1, 1.0, 10.0)}


def measure(options: Options) -> str:
    """Measure 1, 2 and 4 workers in turn, for three batch sizes; then learning rates and memory."""
    counts = (1, 2) if options.quick else (1, 2, 4)
    batches = (1_000,) if options.quick else (100, 1_000, 10_000)
    rows, weights = [], {}
    for batch in batches:
        for count in counts:
            turns = []
            for _ in range(options.rounds):
                results, *figures = _turn(batch, count)
                turns.append((*figures, figures[0] / (figures[1] + figures[2])))
            weights[batch, count] = np.array(results[0]["weights"])
            *seconds, ratios = zip(*turns, strict=True)
            shown = (f"{median(each):.3f}" for each in seconds)
            rows.append((f"{batch:,}", str(count), *shown, spread(list(ratios))))
    difference = max(
        float(np.abs(values - weights[batch, 1]).max()) for (batch, _), values in weights.items()
    )
    return (
        "## Workers\n\nEpochs of MNIST's 55,000 images by processes of this machine that TensorFlow "
        "connects over the loopback device, each on its share of the processor's cores, without "
        "validation, beside a floor: the bare all-reduces of 7,852 floats, and one worker's share "
        "of the images on its share of the cores, trained alone. The last column is the epoch over "
        "the sum of both.\n\n"
        f"{table(rows, COLUMNS)}\nThe weights differ from those of one worker by at most "
        f"{difference:.1e}.\n\nA larger batch needs fewer all-reduces, and a larger learning "
        f"rate:\n\n{table(_rates(options), LEARNING)}\n{_memory(options)}"
    )


def _turn(batch: int, count: int) -> tuple[list[dict[str, Any]], float, float, float]:
    """Train by several workers, and by one with the share of each; return what the former print.

    Also returns the seconds of an epoch, of its all-reduces and of the computation of one worker.
    """
    results = _train(count, batch=batch, epochs=EPOCHS)
    if len({result["digest"] for result in results}) > 1:
        raise RuntimeError(f"{count} workers ended with different weights")
    [share] = _train(1, batch=batch // count, epochs=EPOCHS, share=count)
    epoch, compute = (median(result["epochs"][1:]) for result in (results[0], share))
    # Workers on fewer cores than they are take turns.
    compute *= max(1.0, count / len(os.sched_getaffinity(0)))
    return results, epoch, results[0]["all_reduce"] * -(-55_000 // batch), compute


def _rates(options: Options) -> Any:
    for batch, rates in RATES.items():
        for rate in rates[:1] if options.quick else rates:
            epochs = "1" if options.quick else "15"
            arguments = ["--batch", str(batch), "--rate", str(rate), "--epochs", epochs]
            command = [sys.executable, "-m", "benchmarks.workers", *arguments]
            yield f"{batch:,}", f"{rate:g}", f"{run(command).result['accuracy']:.4f}"


def _memory(options: Options) -> str:
    """Compare the memory of a worker that holds all images with that of two that hold half each."""
    times = 13 if options.quick else 64  # 13: the fewest that are memory-mapped
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        images = write_copies(Path(folder), times)
        [alone] = _train(1, batch=10_000, epochs=1, data=folder)
        pair = _train(2, batch=10_000, epochs=1, data=folder)
        mapped = [
            max(result["memory"] for result in _train(count, batch=10_000, epochs=1, mapped=folder))
            for count in (1, 2)
        ]
    ratio = max(result["memory"] for result in pair) / alone["memory"]
    return (
        f"With {images:,} images in memory, one worker takes {alone['memory']:.0f} MB; of two with "
        f"half of them each (`--shard`), each takes {ratio:.2f} of that. "
        f"Memory-mapped and without `--shard`, one takes {mapped[0]:.0f} MB and each of two at most "
        f"{mapped[1]:.0f} MB, besides the pages of the files.\n"
    )


def _train(
    count: int, *, batch: int, epochs: int, data: str = "", mapped: str = "", share: int = 1
) -> list[dict[str, Any]]:
    """Train in ``count`` processes; return what each prints.

    With ``share``, the process trains the images of one of so many workers, on its cores.
    """
    addresses = free_addresses(count)
    processes = []
    for index in range(count):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": {"worker": addresses}, "task": task})
        arguments = ["--batch", str(batch), "--epochs", str(epochs), "--data", data]
        arguments += ["--mapped", mapped, "--share", str(share)]
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.workers", *arguments],
                stdout=subprocess.PIPE,
                cwd=ROOT,
                env={**os.environ, "TF_CONFIG": config if count > 1 else ""},
            )
        )
        os.sched_setaffinity(processes[-1].pid, own_cores(index, max(count, share)))
    try:
        # The lines are longer than a pipe holds, but are printed after the last all-reduce.
        return [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]
    finally:
        for process in processes:
            process.kill()


def work() -> dict[str, Any]:
    """Train as the worker that TF_CONFIG describes, and measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--data", default="")
    parser.add_argument("--mapped", default="")
    parser.add_argument("--share", type=int, default=1)
    arguments = parser.parse_args()
    from dataclasses import replace

    from kmnist import build_model, evaluate, load_dataset, train
    from kmnist.training.workers import connect

    dataset = load_dataset(
        arguments.data or arguments.mapped or "mnist",
        validation_size=0 if arguments.data else 5_000,
    )
    config = os.environ.get("TF_CONFIG", "")
    cluster = Cluster.of_tf_config(config) if config else None
    images = dataset.train
    if arguments.data:
        # In memory, as TFDS and compressed files are; each worker its part.
        half = slice(cluster.index, None, len(cluster.workers)) if cluster else slice(None)
        images = replace(images, images=np.array(images.images[half]), labels=images.labels[half])
    images = replace(
        images, images=images.images[:: arguments.share], labels=images.labels[:: arguments.share]
    )
    dataset = replace(dataset, train=images, validation=dataset.validation[:0], paths=())
    settings = {"batch_size": arguments.batch, "epochs": arguments.epochs}
    workers = None
    if cluster:
        workers = connect(cluster, dataset, settings, sharded=bool(arguments.data))
    model = build_model()
    rate = arguments.rate
    result = train(model, dataset, workers=workers, learning_rate=rate, **settings)
    figures = {
        "epochs": [epoch.seconds for epoch in result.history],
        "digest": result.weights_digest,
        "memory": memory("RssAnon"),
        "all_reduce": _all_reduce(workers) if workers else 0.0,
        "weights": np.concatenate([w.ravel() for w in model.get_weights()]).tolist(),
        "accuracy": evaluate(model, dataset.test).accuracy,
    }
    if workers:
        workers.wait()
    return figures


def _all_reduce(workers: Any) -> float:
    """Return the seconds of an all-reduce of the packed gradients, in a loop in the graph."""
    import tensorflow as tf

    strategy, steps = workers.strategy, 500
    with strategy.scope():
        variable = tf.Variable(tf.zeros(7_852))

    def update(step: Any, values: Any) -> Any:
        parts = strategy.run(tf.identity, (values,))
        total = strategy.extended.reduce_to(
            tf.distribute.ReduceOp.SUM, parts, destinations=variable
        )
        return step + 1, strategy.experimental_local_results(total)[0] * 0.5

    @tf.function(autograph=False)
    def loop() -> Any:
        return tf.while_loop(lambda step, _: step < steps, update, (0, tf.ones(7_852)))

    times = []
    for _ in range(4):
        started = time.perf_counter()
        loop()[1].numpy()
        times.append((time.perf_counter() - started) / steps)
    return median(times[1:])


if __name__ == "__main__":
    print(json.dumps(work()))
