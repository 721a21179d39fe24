"""Numbers that may not be printed smaller than they are: a bound rounded down is none."""

from decimal import ROUND_CEILING, Context, Decimal
from math import isfinite


def upwards(value: float, form: str) -> str:
    """Return a number as ``format`` writes it with ``.2f``, ``.3g`` and the like, but rounded up.

    Example: ``upwards(1.391, ".2f")`` is ``1.40``.
    """
    if not isfinite(value):
        return format(value, form)
    digits, exact = int(form[1:-1]), Decimal(repr(float(value)))
    if form[-1] == "f":
        return format(exact.quantize(Decimal(1).scaleb(-digits), ROUND_CEILING, Context(prec=400)), form)
    return format(float(Context(prec=digits, rounding=ROUND_CEILING).create_decimal(exact)), form)
