"""A check that every format of meshes is read: a tetrahedron in each, with what its reader needs."""

from __future__ import annotations

import os
import tempfile

from captionless.doctor.finding import Finding, Subject, Verdict
from captionless.errors import DataError


def formats(_: Subject) -> Finding:
    """Reads a tetrahedron in every format."""
    from captionless.precompute.meshes.tetrahedra import FACES, tetrahedra  # which brings numpy
    from captionless.precompute.meshfile import load_mesh

    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        files = tetrahedra()
        for kind, content in files.items():
            path = os.path.join(folder, f"tetrahedron.{kind}")
            with open(path, "wb") as file:
                file.write(content)
            try:
                mesh = load_mesh(path, "y")
            except (DataError, ImportError) as error:
                wrong.append(f"{kind} ({error})")
            else:
                if mesh.face_count != len(FACES):
                    wrong.append(f"{kind} ({mesh.face_count} of {len(FACES)} faces)")
    if wrong:
        reinstall = "reinstall: pip install --force-reinstall captionless"
        return Finding(Verdict.failed, f"a tetrahedron is not read from {'; '.join(wrong)}", reinstall)
    return Finding(Verdict.ok, f"{', '.join(sorted(files))} are read")
