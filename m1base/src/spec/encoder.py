"""The `train.encoder` section."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from captionless.spec.section import Section


class EncoderSpec(Section):
    """The point-cloud encoder and its sizes. An option that the chosen encoder does not have is rejected."""

    name: Literal["pointnext-s", "pointbert", "sparseconv"] = "pointnext-s"
    """`pointnext-s`: PointNeXt-S (set abstraction), as in the paper. `pointbert`: a transformer over groups of points,
    as in ULIP. `sparseconv`: a residual network of sparse voxel convolutions, as in OpenShape. See docs/training.md."""
    width: int = Field(32, ge=4)
    """Channels. `pointnext-s`: of the first stage; 32 gives the paper's PointNeXt-S. `pointbert`: of a token, a
    multiple of `heads`; defaults to 384. `sparseconv`: of the stem."""
    depth: int = Field(12, ge=1)
    """`pointbert`: number of transformer blocks. `sparseconv`: ResNet depth, 11, 18 or 34; defaults to 34."""
    heads: int = Field(6, ge=1)
    """`pointbert`: number of attention heads."""
    groups: int = Field(512, ge=1)
    """`pointbert`: number of groups of points, one token each; at most `train.points`."""
    nsample: int = Field(32, ge=1)
    """`pointnext-s`: neighbours per ball query. `pointbert`: points per group."""
    in_channels: Literal[3, 4] = 3
    """Input channels. 3: xyz. 4: xyz and the height above the lowest point, as in ULIP."""
    radius: float = Field(0.15, gt=0)
    """`pointnext-s`: radius of the first ball query, in units of the unit sphere that clouds are normalised to; it
    grows 1.5-fold with every downsampling."""
    voxel: float = Field(0.02, gt=0)
    """`sparseconv`: voxel edge length, with clouds normalised to the unit sphere; 0.02 suits 10,000 points, 0.05 suits
    2048."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """`pointnext-s`, `sparseconv`: dropout probability of the layers before the projection."""
    drop_path: float = Field(0.1, ge=0, lt=1)
    """`pointbert`: stochastic depth. Probability of skipping the last block in training, increasing linearly from 0 at
    the first block."""
    operators: Literal["own", "pointnext"] = "own"
    """`pointnext-s`, `pointbert`: implementation of farthest point sampling and ball query on a GPU. `pointnext`: the
    CUDA kernels of the package of that name, which must be installed; they round differently, so that this counts as
    another run."""

    OPTIONS: ClassVar[dict[str, tuple[str, ...]]] = {
        "pointnext-s": ("width", "nsample", "in_channels", "radius", "dropout", "operators"),
        "pointbert": ("width", "depth", "heads", "groups", "nsample", "in_channels", "drop_path", "operators"),
        "sparseconv": ("width", "depth", "in_channels", "voxel", "dropout"),
    }
    """The options of each encoder. A dump contains no others, and `operators` only if it is not `own`, so that
    irrelevant and later added options do not change fingerprints."""
    DEFAULTS: ClassVar[dict[str, dict[str, int]]] = {"pointbert": {"width": 384}, "sparseconv": {"depth": 34}}
    """Defaults of an encoder that differ from the field's."""
    DEPTHS: ClassVar = (11, 18, 34)
    """Depths that `sparseconv` supports."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        takes, fields = self.OPTIONS[self.name], type(self).model_fields
        foreign = [str(fields[f].alias) for f in fields if f in self.model_fields_set - {"name", *takes}]
        if foreign:
            known = ", ".join(str(fields[f].alias) for f in takes)
            raise ValueError(f"{', '.join(foreign)}: not an option of {self.name}; its options are {known}")
        for option, default in self.DEFAULTS.get(self.name, {}).items():
            if option not in self.model_fields_set:
                self.__dict__[option] = default  # still unset, so that it is not taken for an explicit value
        if self.name == "pointbert" and self.width % self.heads:
            raise ValueError(f"width: {self.width} is not a multiple of heads: {self.heads}")
        if self.name == "sparseconv" and self.depth not in self.DEPTHS:
            raise ValueError(f"depth: {self.depth} is not one of {', '.join(map(str, self.DEPTHS))} (sparseconv)")
        return self

    @model_serializer(mode="wrap")
    def _dump_own_options(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        left_out = fields.keys() - {"name", *self.OPTIONS[self.name]}
        if self.operators == "own":
            left_out |= {"operators"}
        names = {name for field in left_out for name in (field, fields[field].alias)}
        return {name: value for name, value in dump(self).items() if name not in names}
