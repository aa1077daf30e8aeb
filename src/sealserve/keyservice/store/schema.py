"""The tables of the key service's database, the same in SQLite and in PostgreSQL.

`head` has one row, which every writer locks first: it is where the log ends and which revision of
what decides is in force. `records` and `nodes` only grow. `rules` and `secrets` hold what decides,
each row under a MAC of the data key; no column holds a secret that is not sealed under it.

SQLite lets a column hold a value of any type; what is of another than ours was not written by us,
and is an AuditError.

The tables are made and changed by the migrations beside this module; a test holds the two together.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
)

from sealserve.errors import AuditError


class _Ours(TypeDecorator[Any]):
    """A column whose values are of one Python type."""

    impl: Any
    kind: ClassVar[type]

    def process_result_value(self, value: Any, dialect: object) -> Any:
        """The value; raises AuditError for one of another type."""
        if value is None or isinstance(value, self.kind):
            return value
        raise AuditError(
            f"the database has {type(value).__name__} in the place of {self.kind.__name__}:"
            " it was altered",
            hint="restore a backup",
        )


class Octets(_Ours):
    """Bytes."""

    impl = LargeBinary
    cache_ok = True
    kind = bytes


class Words(_Ours):
    """Text."""

    impl = Text
    cache_ok = True
    kind = str


class Count(_Ours):
    """A number that may be large."""

    impl = BigInteger
    cache_ok = True
    kind = int


# SQLite makes a row's place of an INTEGER alone.
Big = BigInteger().with_variant(Integer(), "sqlite")
METADATA: Final = MetaData()
REVISIONS: Final = ("0001",)  # of the migrations, oldest first; the last is what is read here
VERSION: Final = Table("alembic_version", MetaData(), Column("version_num", Text))  # Alembic's own

META: Final = Table(
    "meta",
    METADATA,
    Column("name", Words, primary_key=True),
    Column("value", Octets, nullable=False),
)

HEAD: Final = Table(
    "head",
    METADATA,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("size", Count, nullable=False),
    Column("frontier", Octets, nullable=False),
    Column("checkpoint", Words, nullable=False),
)

RECORDS: Final = Table(
    "records",
    METADATA,
    Column("index", Big, primary_key=True, autoincrement=False),
    Column("leaf_hash", Octets, nullable=False),
    Column("record", Octets, nullable=False),
    # Of the record, to find it by:
    Column("time_us", BigInteger, nullable=False),
    Column("kind", Words, nullable=False),
    Column("outcome", Words),
    Column("secret", Words),
    Column("evidence", Octets),
)
Index("records_by_time", RECORDS.c.time_us)
Index("records_by_secret", RECORDS.c.secret)
Index("records_by_evidence", RECORDS.c.evidence)

NODES: Final = Table(
    "nodes",
    METADATA,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("index", Big, primary_key=True, autoincrement=False),
    Column("hash", Octets, nullable=False),
)

RULES: Final = Table(
    "rules",
    METADATA,
    Column("number", Big, primary_key=True, autoincrement=False),
    Column("document", Octets, nullable=False),
    Column("mac", Octets, nullable=False),
)

SECRETS: Final = Table(
    "secrets",
    METADATA,
    Column("name", Words, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("document", Octets, nullable=False),
    Column("sealed", Octets, nullable=False),
    Column("mac", Octets, nullable=False),
)

# In the order in which a backup writes and a restore reads them.
TABLES: Final = (META, RULES, SECRETS, RECORDS, NODES, HEAD)
