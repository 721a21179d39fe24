"""What a convolutional model asks of its inputs' shape."""


def image_shape(input_shape: tuple[int, ...], least: int) -> tuple[int, int, int]:
    """Return (channels, height, width).

    Raises:
        ValueError: Not a picture, or one with less than ``least`` pixels a side.
    """
    if len(input_shape) != 3 or min(input_shape[1:]) < least:
        raise ValueError(f"needs pictures [channels, height, width] of at least {least} x {least} pixels")
    channels, height, width = input_shape
    return channels, height, width
