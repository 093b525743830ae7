"""`python -m rethinklab.cli`, as torchrun starts it."""

from rethinklab.cli import main

if __name__ == "__main__":
    main()
