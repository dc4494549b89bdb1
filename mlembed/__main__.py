"""`python -m mlembed`, as torchrun needs it."""

import sys

from mlembed.cli import main

sys.exit(main())
