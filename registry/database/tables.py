"""The tables: columns and constraints, no behaviour.

Times are ISO 8601 text in UTC and graphs are JSON text, so that plain SQL reads the same on every
database.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel


def _parent(table: str, *, primary_key: bool = False, index: bool = False) -> Column[int]:
    key = ForeignKey(f"{table}.id", ondelete="CASCADE")
    return Column(Integer, key, primary_key=primary_key, index=index, nullable=False)


class RegistryId(SQLModel, table=True):
    """The one row that says which registry this is; its store carries the same id."""

    __tablename__ = "registry"
    id: str = Field(primary_key=True)


class Model(SQLModel, table=True):
    """A name."""

    __tablename__ = "model"
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    key: str = Field(unique=True, description="the folded name, under which it is looked up")
    task: str | None = None
    created_at: str


class Version(SQLModel, table=True):
    """One set of weights of a model."""

    __tablename__ = "version"
    __table_args__ = (UniqueConstraint("model_id", "number"),)
    id: int | None = Field(default=None, primary_key=True)
    model_id: int = Field(sa_column=_parent("model"))
    number: int
    origin: str | None = Field(
        default=None, description="whose weights: an index's or a Hub commit"
    )
    license: str | None = None
    created_at: str


class Bundle(SQLModel, table=True):
    """A folder of files in the store."""

    __tablename__ = "bundle"
    digest: str = Field(primary_key=True)
    bytes: int = Field(sa_type=BigInteger)


class BundleFile(SQLModel, table=True):
    """One file of a bundle."""

    __tablename__ = "file"
    digest: str = Field(
        sa_column=Column(Text, ForeignKey("bundle.digest", ondelete="CASCADE"), primary_key=True)
    )
    path: str = Field(primary_key=True)
    sha256: str
    bytes: int = Field(sa_type=BigInteger)


class VariantRow(SQLModel, table=True):
    """One encoding of a version."""

    __tablename__ = "variant"
    __table_args__ = (UniqueConstraint("version_id", "label"),)
    id: int | None = Field(default=None, primary_key=True)
    version_id: int = Field(sa_column=_parent("version"))
    label: str
    precision: str
    opset: int
    digest: str = Field(foreign_key="bundle.digest", index=True)
    entry: str = Field(description="the .onnx file's path inside the bundle")
    source: str
    revision: str | None = None
    graph: str = Field(sa_column=Column(Text, nullable=False))
    created_at: str


class MeasurementRow(SQLModel, table=True):
    """A figure of a bundle: the newest of its metric in its context."""

    __tablename__ = "measurement"
    __table_args__ = (UniqueConstraint("digest", "metric", "context"),)
    id: int | None = Field(default=None, primary_key=True)
    digest: str = Field(
        sa_column=Column(
            Text, ForeignKey("bundle.digest", ondelete="CASCADE"), nullable=False, index=True
        )
    )
    metric: str
    value: float
    unit: str
    context: str = Field(
        sa_column=Column(Text, nullable=False), description="JSON, compact, keys sorted"
    )
    at: str


class LineageRow(SQLModel, table=True):
    """The parent and the recipe of a variant."""

    __tablename__ = "lineage"
    variant_id: int = Field(sa_column=_parent("variant", primary_key=True))
    parent: str | None = Field(
        default=None, index=True, description="a bundle's digest; it may be held no longer"
    )
    called: str = Field(description="the parent's reference then, or the source's name")
    recipe: str = Field(sa_column=Column(Text, nullable=False), description="JSON")


class ReferenceData(SQLModel, table=True):
    """A version's reference inputs and outputs: a bundle of their own."""

    __tablename__ = "reference_data"
    version_id: int = Field(sa_column=_parent("version", primary_key=True))
    digest: str = Field(foreign_key="bundle.digest", index=True)
    source: str


class Alias(SQLModel, table=True):
    """A movable name for a version, and for the variant that it meant when it was set."""

    __tablename__ = "alias"
    model_id: int = Field(sa_column=_parent("model", primary_key=True))
    name: str = Field(primary_key=True)
    version_id: int = Field(sa_column=_parent("version", index=True))
    variant_id: int | None = Field(
        default=None,
        sa_column=Column(Integer, ForeignKey("variant.id", ondelete="SET NULL"), index=True),
        description="null once that variant was removed",
    )


class Tag(SQLModel, table=True):
    """A word to find a model by."""

    __tablename__ = "tag"
    model_id: int = Field(sa_column=_parent("model", primary_key=True))
    name: str = Field(primary_key=True)


class Event(SQLModel, table=True):
    """An event: action, time, reference."""

    __tablename__ = "event"
    __table_args__ = (
        Index(
            "ix_event_removed",
            "reference",
            sqlite_where=text("action = 'remove'"),
            postgresql_where=text("action = 'remove'"),
        ),
    )
    id: int | None = Field(default=None, primary_key=True)
    at: str
    action: str
    reference: str
    detail: str | None = None
