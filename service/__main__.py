"""python -m service: the command `roadcue`."""

from service.cli import main

if __name__ == "__main__":
    main()
