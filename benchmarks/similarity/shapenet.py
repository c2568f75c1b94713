"""The sizes of ShapeNetCore v2's 55 categories, to a few objects: what planners and stores are measured with."""

_COUNTS = """
    8436 6778 4045 3514 3173 2373 2318 1939 1813 1597 1571 1093 1089 939 856 831 793 752 740 601
    596 563 498 466 452 424 389 343 340 337 307 298 248 239 218 214 202 171 169 152 146 133 113
    111 108 96 94 93 85 83 73 65 57 56 56
"""
SHAPENET = {f"{i:02d}": int(n) for i, n in enumerate(_COUNTS.split())}
