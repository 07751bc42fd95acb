"""``python -m perpstrader`` is the ``perpstrader`` command."""

from perpstrader.cli import main

if __name__ == "__main__":
    main()
