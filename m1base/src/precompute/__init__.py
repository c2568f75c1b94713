"""From meshes to what training reads: pack -> embed -> landmarks -> similarity."""
