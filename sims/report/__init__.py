"""One page that holds all that a run, a sweep, a matrix or several of them found: HTML, one file."""
