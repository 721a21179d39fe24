"""What a tracker may declare."""

from .declaration import Table, words


class Trackers(Table):
    """What a tracker may say of itself."""

    needs = words("The modules that it imports when it is opened; a run whose machine lacks one is refused.")
