"""What a command prints that refuses its input."""


def one_line(result) -> str:
    """Check that a command failed as it should, and return its line."""
    assert result.returncode == 2, (result.stdout, result.stderr)
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]
