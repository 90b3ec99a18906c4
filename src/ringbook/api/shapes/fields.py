"""Fields that several nouns share, with their descriptions for OpenAPI."""

from typing import Annotated

from msgspec import Meta, Struct

Id = Annotated[int, Meta(ge=1, le=2**31 - 1, examples=[271])]
Date = Annotated[str, Meta(description="ISO 8601, UTC", examples=["2018-12-05T11:58:02Z"])]
Login = Annotated[str, Meta(examples=["ann"])]
Email = Annotated[str, Meta(examples=["ann@example.com"])]
Password = Annotated[str, Meta(examples=["correct-horse"])]
Phone = Annotated[str, Meta(description="in any spelling", examples=["+44 7700 900123"])]
ContactName = Annotated[str, Meta(description="1 to 255 characters", examples=["Ann (climbing)"])]
Flag = Annotated[bool, Meta(description="also 0 or 1, as a number or a text", examples=[True])]

Cursor = Annotated[
    str, Meta(description="opaque; the next request continues from there", examples=["2b6f0cc904d137be-c"])
]


class Name(Struct):
    """An object with a name."""

    name: str
