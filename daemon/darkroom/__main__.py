"""`python -m darkroom` is `darkroom`."""

import sys

from darkroom.cli import main

sys.exit(main())
