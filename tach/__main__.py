"""`python -m tach`: the same as `tach`."""

import sys

from tach.cli import main

if __name__ == "__main__":
    sys.exit(main())
