"""Starts the studio: `python app.py`. All options: `python app.py --help`."""

import sys

from studio.__main__ import serve_main

if __name__ == "__main__":
    sys.exit(serve_main())
