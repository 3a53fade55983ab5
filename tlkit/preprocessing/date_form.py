"""What a date looks like: one pattern for the graph that reads dates and for the gates before it."""

from __future__ import annotations

# A day, then perhaps a time, then perhaps an offset from UTC, which is read and left aside. For RE2 and Python alike.
DATE_FORM = (
    r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"([Tt ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?"
    r" ?([Zz]|[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?)?)?"
)
