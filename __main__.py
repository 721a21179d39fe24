"""``python -m gauntlet``: the command line."""

from .sims.cli import main

if __name__ == "__main__":
    main()
