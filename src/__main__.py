"""`python -m captionless`, the console script's other name."""

from captionless.cli import main

if __name__ == "__main__":
    main()
