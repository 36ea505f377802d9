"""Types of columns that mean the same in SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Integer

# SQLite makes a column of the type INTEGER, and of no other, its row id: one tree instead of two.
BIG: Final = BigInteger().with_variant(Integer, "sqlite")
"""An integer of 64 bits; as a primary key it is SQLite's row id."""
