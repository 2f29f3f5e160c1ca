"""``python -m kmnist``: the same as the ``kmnist`` command."""

from kmnist.cli import main

if __name__ == "__main__":
    main(prog_name="kmnist")
