"""What can be done about a broken object, by its reason."""

from __future__ import annotations

import pytest

from captionless.stages.remedies import remedy


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("killed by signal 11 (SIGSEGV) while reading", "limits"),
        ("took longer than 120 s of processor time while reading", "limits"),
        ("needs more than 8.6 GB of memory while reading", "limits"),
        ("refers to '../../x.png': outside of /data; if it is meant, add its folder to data.allow", "outside"),
        ("refers to '/dev/zero': devices and files of the kernel are not read", "forbidden"),
        ("refers to 'ftp://h/x': files on ftp:// are not read", "forbidden"),
        ("https://h/x.png: 169.254.169.254 is not a public address", "forbidden"),
        ("s3://b/x.png: access denied", "denied"),
        ("https://h/x.png: the server answered 403", "denied"),
        ("https://h/x.png: the server answered 451", "missing"),
        ("/data/a.obj: no such file", "missing"),
        ("refers to 'aaa...': its name is too long", "name"),
        ("/data/a.glb/x.mtl: one of the folders in its path is a file", "name"),
        ("cannot read the texture t.png as a picture", "texture"),
        ("a texture is truncated or damaged: image file is truncated", "texture"),
        ("has 6000000 faces; at most 5000000 are supported: simplify the mesh", "size"),
        ("/data/x.png: has 5,000,000,000 bytes; at most 4,000,000,000 are read", "size"),
        ("cannot read the GLB file: IndexError: index 99 is out of bounds", "format"),
        ("not a glTF file: its header is not valid JSON (x)", "format"),
        ("the mesh has no faces; expected a triangulated surface", "geometry"),
        ("3 of 9 faces have NaN or infinite coordinates", "geometry"),
        ("has points but no mesh, so that no views can be rendered", "geometry"),
        ("ZeroDivisionError: division by zero", "other"),
    ],
)
def test_the_kind_of_a_reason(reason: str, kind: str) -> None:
    found = remedy(reason)
    assert found.kind == kind
    assert found.text
