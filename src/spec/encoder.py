""""""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from captionless.spec.section import Section


class EncoderSpec(Section):
    """Which network encodes the clouds, and its sizes. An option that another encoder has is refused."""

    name: Literal["pointnext-s", "pointbert", "sparseconv"] = "pointnext-s"
    """`pointnext-s`: set abstractions, as in the paper. `pointbert`: a transformer over groups of points, as ULIP's.
    `sparseconv`: a residual network of sparse voxel convolutions, as OpenShape's. See docs/training.md."""
    width: int = Field(32, ge=4)
    """Channels. `pointnext-s`: of the first stage; 32 is PointNeXt-S as the paper uses it. `pointbert`: of a token, a
    multiple of `heads`; 384 unless given. `sparseconv`: of the stem."""
    depth: int = Field(12, ge=1)
    """`pointbert`: transformer blocks. `sparseconv`: 11, 18 or 34 as of a ResNet; 34 unless given."""
    heads: int = Field(6, ge=1)
    """`pointbert`: attention heads."""
    groups: int = Field(512, ge=1)
    """`pointbert`: groups of points, one token each; at most `train.points`."""
    nsample: int = Field(32, ge=1)
    """`pointnext-s`: neighbours per ball query. `pointbert`: points of a group."""
    in_channels: Literal[3, 4] = 3
    """3: xyz. 4: xyz and height above the lowest point, as ULIP feeds it."""
    radius: float = Field(0.15, gt=0)
    """`pointnext-s`: of the first ball query."""
    voxel: float = Field(0.02, gt=0)
    """`sparseconv`: edge of a voxel, the clouds being in the unit sphere; 0.02 is for 10,000 points, 0.05 for 2048."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """`pointnext-s`, `sparseconv`: of the layers before the projection."""
    drop_path: float = Field(0.1, ge=0, lt=1)
    """`pointbert`: how often the last block is left out in training (stochastic depth), from 0 at the first on."""
    operators: Literal["own", "pointnext"] = "own"
    """`pointnext-s`, `pointbert`: what samples points and finds balls on a GPU. `pointnext`: the CUDA kernels of that
    package, which has to be installed; another run, since they round otherwise."""

    TAKES: ClassVar[dict[str, tuple[str, ...]]] = {
        "pointnext-s": ("width", "nsample", "in_channels", "radius", "dropout", "operators"),
        "pointbert": ("width", "depth", "heads", "groups", "nsample", "in_channels", "drop_path", "operators"),
        "sparseconv": ("width", "depth", "in_channels", "voxel", "dropout"),
    }
    """The options of each encoder. A dump has no others, nor `operators` unless they are another's, so that what is
    of no account or came later enters no fingerprint."""
    OWN: ClassVar[dict[str, dict[str, int]]] = {"pointbert": {"width": 384}, "sparseconv": {"depth": 34}}
    """Where an encoder's default is another than the field's."""
    DEPTHS: ClassVar = (11, 18, 34)
    """Of `sparseconv`."""

    @model_validator(mode="after")
    def _of_its_own(self) -> Self:
        takes, fields = self.TAKES[self.name], type(self).model_fields
        foreign = [str(fields[f].alias) for f in fields if f in self.model_fields_set - {"name", *takes}]
        if foreign:
            known = ", ".join(str(fields[f].alias) for f in takes)
            raise ValueError(f"{', '.join(foreign)}: not of {self.name}, whose options are {known}")
        for option, default in self.OWN.get(self.name, {}).items():
            if option not in self.model_fields_set:
                self.__dict__[option] = default  # still not set, so that what was written stays what was written
        if self.name == "pointbert" and self.width % self.heads:
            raise ValueError(f"width: {self.width} is no multiple of heads: {self.heads}")
        if self.name == "sparseconv" and self.depth not in self.DEPTHS:
            raise ValueError(f"depth: {self.depth} is not one of {', '.join(map(str, self.DEPTHS))} (sparseconv)")
        return self

    @model_serializer(mode="wrap")
    def _taken(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        left_out = fields.keys() - {"name", *self.TAKES[self.name]}
        if self.operators == "own":
            left_out |= {"operators"}
        names = {name for field in left_out for name in (field, fields[field].alias)}
        return {name: value for name, value in dump(self).items() if name not in names}
