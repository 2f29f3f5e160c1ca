"""PyTorch, with the two loops that people write: over a ``DataLoader``, and over indexed tensors.

python -m benchmarks.peers.torch_loops --loop dataloader [--epochs 15]
python -m benchmarks.peers.torch_loops --loop indexed    [--epochs 15]
"""

import time
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.peers.mnist import BATCH, LEARNING_RATE, answer, parse, read


def main() -> None:
    flags = parse(__doc__, dataloader="torch.utils.data.DataLoader", indexed="tensors[indices]")
    images, labels = (torch.from_numpy(array) for array in read("train"))
    torch.manual_seed(0)
    model = torch.nn.Linear(784, 10)
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(images, labels), BATCH, shuffle=True
    )
    seconds = []
    for _ in range(flags.epochs):
        started = time.perf_counter()
        learn(model, optimizer, loader if flags.loop == "dataloader" else batches(images, labels))
        seconds.append(time.perf_counter() - started)
    images, labels = (torch.from_numpy(array) for array in read("t10k"))
    with torch.no_grad():
        right = model(images).argmax(1) == labels
    answer(seconds, right.float().mean().item(), "torch")


def batches(images: Any, labels: Any) -> Iterator[tuple[Any, Any]]:
    for chosen in torch.randperm(len(images)).split(BATCH):
        yield images[chosen], labels[chosen]


def learn(model: Any, optimizer: Any, epoch: Any) -> tuple[float, int]:
    """One epoch; returns the sum of its examples' costs, and how many were right."""
    cost, hits = torch.zeros(()), torch.zeros((), dtype=torch.int64)
    for images, labels in epoch:
        logits = model(images)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        cost += loss.detach() * len(labels)
        hits += (logits.argmax(1) == labels).sum()
    return cost.item(), int(hits.item())


if __name__ == "__main__":
    main()
