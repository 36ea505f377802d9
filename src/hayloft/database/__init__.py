"""A role's database, on SQLite or PostgreSQL, behind two methods: ``read`` and ``write``.

Work is a plain function of a SQLAlchemy ``Connection`` and runs inside one transaction; it is the same
function for both databases. ``write`` guarantees: the transaction is durable when it returns; write
transactions of all processes follow one another, so what one reads no other changes before it commits, and
whatever it numbers appears in that order. ``migrations`` brings tables to this version's schema. Nothing
here knows any table.
"""

from hayloft.database.opening import Database, Work, open_database, parse_url

__all__ = ["Database", "Work", "open_database", "parse_url"]
