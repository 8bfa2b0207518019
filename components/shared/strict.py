"""The base of all records that are written to files and read again."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A record that never changes and takes no field that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)
