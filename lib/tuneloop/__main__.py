"""`python -m tuneloop` is the console script `tuneloop`."""

from tuneloop.cli.main import main

if __name__ == "__main__":
    main()
