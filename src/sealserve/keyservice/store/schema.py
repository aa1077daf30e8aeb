"""The tables of the key service's database, the same in SQLite and in PostgreSQL.

`head` has one row, which every writer locks first: it is where the log ends and which revision of
what decides is in force. `records` and `nodes` only grow. `rules` and `secrets` hold what decides,
each row under a MAC of the data key; no column holds a secret that is not sealed under it.

The tables are made and changed by the migrations beside this module; a test holds the two together.
"""

from __future__ import annotations

from typing import Final

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
)

# SQLite makes a row's place of an INTEGER alone.
Big = BigInteger().with_variant(Integer(), "sqlite")
METADATA: Final = MetaData()

META: Final = Table(
    "meta",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

HEAD: Final = Table(
    "head",
    METADATA,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
    Column("checkpoint", Text, nullable=False),
)

RECORDS: Final = Table(
    "records",
    METADATA,
    Column("index", Big, primary_key=True, autoincrement=False),
    Column("leaf_hash", LargeBinary, nullable=False),
    Column("record", LargeBinary, nullable=False),
    # Of the record, to find it by:
    Column("time_us", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("outcome", Text),
    Column("secret", Text),
    Column("evidence", LargeBinary),
)
Index("records_by_time", RECORDS.c.time_us)
Index("records_by_secret", RECORDS.c.secret)
Index("records_by_evidence", RECORDS.c.evidence)

NODES: Final = Table(
    "nodes",
    METADATA,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("index", Big, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
)

RULES: Final = Table(
    "rules",
    METADATA,
    Column("number", Big, primary_key=True, autoincrement=False),
    Column("document", LargeBinary, nullable=False),
    Column("mac", LargeBinary, nullable=False),
)

SECRETS: Final = Table(
    "secrets",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("document", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("mac", LargeBinary, nullable=False),
)

# In the order in which a backup writes and a restore reads them.
TABLES: Final = (META, RULES, SECRETS, RECORDS, NODES, HEAD)
