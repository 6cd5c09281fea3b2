"""`python -m dlcexp` is `dlcexp`."""

import sys

from dlcexp.cli import main

if __name__ == "__main__":
    sys.exit(main())
