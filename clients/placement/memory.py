"""Let this process keep the memory it frees, for the next step to use.

Every local step allocates and frees the same megabytes. By default the C library hands them back to the
system and asks for them again, and the system clears every page anew: up to a third of a convolutional step.

Source: mallopt(3) of the GNU C library; elsewhere nothing is changed.
"""

import ctypes

from ...core.matrices import LARGEST_KEPT

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Keep freed blocks of up to 32 MiB; larger ones still go back to the system at once."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_MMAP_THRESHOLD, LARGEST_KEPT)
    mallopt(_TRIM_THRESHOLD, _NEVER)
