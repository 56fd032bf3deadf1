"""Python reads this at its start where it is on the path: the time of day is then as far off as the file CLOCK says.

The monotonic clock and the times of files stay what they are, as when somebody sets the clock of one machine.
"""

import os
import time

_true_time = time.time


def _shown_time() -> float:
    with open(os.environ["CLOCK"]) as file:
        return _true_time() + float(file.read())


time.time = _shown_time
