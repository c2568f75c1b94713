"""Names and quantities as Kubernetes writes them."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field

_QUANTITY = r"[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?"


Quantity = Annotated[str, Field(pattern=rf"^{_QUANTITY}$", max_length=20)]


ObjectName = Annotated[str, Field(pattern=r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$", max_length=253)]


_UNITS = {"m": "0.001", "k": "1e3", "M": "1e6", "G": "1e9", "T": "1e12"} | {
    unit: str(1 << 10 * power) for power, unit in enumerate(("", "Ki", "Mi", "Gi", "Ti"))
}


def whole_bytes(quantity: str) -> int:
    """A quantity as Kubernetes writes it, in bytes."""
    number = quantity.rstrip("mkKMGTi")
    return int(Decimal(number) * Decimal(_UNITS[quantity[len(number) :]]))


Name = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$", max_length=40)]
