"""What the doctor says about one thing that it looked at."""

from pydantic import BaseModel


class Finding(BaseModel):
    """One thing that was looked at; ``fix`` is the command that mends it if it is not well."""

    text: str
    fix: str = ""

    @property
    def ok(self) -> bool:
        """Whether it is well."""
        return not self.fix
