"""`python -m datadam.cli` is the command `datadam`."""

from datadam.cli import main

if __name__ == "__main__":
    main()
