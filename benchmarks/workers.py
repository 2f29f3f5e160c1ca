"""Several workers on this machine: an epoch beside its floor, the weights, and learning rates."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from statistics import median
from typing import Any, Final

import numpy as np

from benchmarks.harness import ROOT, Options, run, spread, table

COLUMNS: Final = "batch | workers | an epoch, s | all-reduces, s | compute, s | the epoch takes"
LEARNING: Final = "batch | learning rate | test accuracy after 15 epochs"

EPOCHS: Final = 6

# Per batch size, learning rates up to the linear rule, 0.1 for a batch of 100.
RATES: Final = {100: (0.1,), 1_000: (0.1, 0.5, 1.0), 10_000: (0.1, 1.0, 10.0)}


def measure(options: Options) -> str:
    """Measure 1, 2 and 4 workers in turn, for three batch sizes; then learning rates."""
    counts = (1, 2) if options.quick else (1, 2, 4)
    rows, weights = [], {}
    for batch in (1_000,) if options.quick else RATES:
        for count in counts:
            turns = []
            for _ in range(options.rounds):
                weights[batch, count], *figures = _turn(batch, count)
                turns.append((*figures, figures[0] / (figures[1] + figures[2])))
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
        f"rate:\n\n{table(_rates(options), LEARNING)}"
    )


def _turn(batch: int, count: int) -> tuple[Any, float, float, float]:
    """Train by several workers, and by one with the share of each.

    Returns:
        The weights, and the seconds of an epoch, of its all-reduces and of the computation of one.
    """
    results = _train(count, batch=batch)
    if len({result["digest"] for result in results}) > 1:
        raise RuntimeError(f"{count} workers ended with different weights")
    [share] = _train(1, batch=batch // count, share=count)
    epoch, compute = (median(result["epochs"][1:]) for result in (results[0], share))
    # Workers on fewer cores than they are take turns.
    compute *= max(1.0, count / len(os.sched_getaffinity(0)))
    all_reduces = results[0]["all_reduce"] * -(-55_000 // batch)
    return np.array(results[0]["weights"]), epoch, all_reduces, compute


def _rates(options: Options) -> Iterator[tuple[str, ...]]:
    for batch, rates in RATES.items():
        for rate in rates[:1] if options.quick else rates:
            arguments = [f"--batch-size={batch}", f"--learning-rate={rate}", "--json"]
            arguments += [f"--epochs={1 if options.quick else 15}", f"--models={options.scratch}/w"]
            result = run([sys.executable, "-m", "kmnist", "train", *arguments]).result
            yield f"{batch:,}", f"{rate:g}", f"{result['test']['accuracy']:.4f}"


def _train(count: int, *, batch: int, share: int = 1) -> list[dict[str, Any]]:
    """Train in ``count`` processes, or one of ``share`` workers alone; return what each prints."""
    with ExitStack() as stack:
        ports = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        addresses = [f"127.0.0.1:{port.getsockname()[1]}" for port in ports]
    cores, processes = sorted(os.sched_getaffinity(0)), []
    for index in range(count):
        task = {"type": "worker", "index": index}
        cluster = json.dumps({"cluster": {"worker": addresses}, "task": task})
        command = [sys.executable, "-m", "benchmarks.workers", str(batch), str(share)]
        environment = {**os.environ, "TF_CONFIG": cluster}
        processes.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=environment)
        )
        os.sched_setaffinity(processes[-1].pid, cores[index % len(cores) :: max(count, share)])
    try:
        # The lines are longer than a pipe holds, but are printed after the last all-reduce.
        return [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]
    finally:
        for process in processes:
            process.kill()


def work(batch: int, share: int) -> dict[str, Any]:
    """Train as the worker that TF_CONFIG describes, and measure."""
    from kmnist import build_model, load_dataset, train
    from kmnist.data import Split
    from kmnist.training.workers import connect

    dataset = load_dataset("mnist")
    images = Split(dataset.train.images[::share], dataset.train.labels[::share])
    dataset = replace(dataset, train=images, validation=dataset.validation[:0])
    settings: dict[str, Any] = {"batch_size": batch, "epochs": EPOCHS}
    workers = connect(dataset, settings)
    model = build_model()
    result = train(model, dataset, workers=workers, **settings)
    figures = {
        "epochs": [epoch.seconds for epoch in result.history],
        "digest": result.weights_digest,
        "all_reduce": _all_reduce(workers.strategy) if workers else 0.0,
        "weights": np.concatenate([weight.ravel() for weight in model.get_weights()]).tolist(),
    }
    if workers:
        workers.wait()
    return figures


def _all_reduce(strategy: Any) -> float:
    """Return the seconds of an all-reduce of the packed gradients, in a loop in the graph."""
    import tensorflow as tf

    steps, total = 500, tf.distribute.ReduceOp.SUM
    with strategy.scope():
        target = tf.Variable(tf.zeros(7_852))

    def update(step: Any, values: Any) -> Any:
        parts = strategy.run(tf.identity, (values,))
        reduced = strategy.extended.reduce_to(total, parts, destinations=target)
        return step + 1, strategy.experimental_local_results(reduced)[0] * 0.5

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
    print(json.dumps(work(*map(int, sys.argv[1:]))))
