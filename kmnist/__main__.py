"""Run the ``kmnist`` command as ``python -m kmnist``."""

from kmnist.cli import main

if __name__ == "__main__":
    main(prog_name="kmnist")
