"""`python -m tach.sender RUN_DIR`: be the sender of a run that has lost its own."""

import sys

from tach.sender.process import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
