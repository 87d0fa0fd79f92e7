"""`python -m modelrollout`: `run` starts the operator, every other word is a command for people (`cli`)."""

from modelrollout.cli.app import main

if __name__ == "__main__":
    main()
