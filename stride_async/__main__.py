"""`python -m stride_async`: the command."""

from stride_async._cli.main import run

if __name__ == "__main__":
    run()
