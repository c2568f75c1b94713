"""What is done about each extension of glTF: the one place that decides.

An extension that a file requires and that is not in this table is refused by its name. One that it merely uses is told
as a loss, as are those that change how an object looks and are not drawn.
"""

from __future__ import annotations

from typing import Literal

from captionless.errors import DataError
from captionless.precompute.meshes.gltf.document import Entry
from captionless.precompute.meshes.reading import Loss

Handling = Literal["done", "told", "not shown"]

EXTENSIONS: dict[str, Handling] = {
    # geometry
    "EXT_mesh_gpu_instancing": "done",
    "EXT_meshopt_compression": "done",
    "KHR_meshopt_compression": "done",
    "KHR_accessor_float64": "done",
    "KHR_draco_mesh_compression": "done",
    "KHR_mesh_quantization": "done",
    "KHR_node_visibility": "done",
    # appearance
    "EXT_texture_webp": "done",
    "KHR_materials_emissive_strength": "done",
    "KHR_materials_pbrSpecularGlossiness": "done",
    "KHR_materials_unlit": "done",
    "KHR_texture_basisu": "done",  # the texture's other picture is taken if there is one, which has lost less
    "KHR_texture_transform": "done",
    "EXT_texture_avif": "done",  # likewise, or this one if Pillow reads it
    "MSFT_texture_dds": "done",  # likewise
    # what shines through, or is seen at grazing angles, is drawn as if it were opaque and matt
    "KHR_materials_diffuse_transmission": "told",
    "KHR_materials_sheen": "told",
    "KHR_materials_subsurface": "told",
    "KHR_materials_transmission": "told",
    "KHR_materials_volume": "told",
    "KHR_materials_volume_scatter": "told",
    # reflections, lights, movement, sounds, choices and data about the data: nothing of a view or a cloud
    "ADOBE_materials_clearcoat_specular": "not shown",
    "ADOBE_materials_clearcoat_tint": "not shown",
    "AGI_articulations": "not shown",
    "AGI_stk_metadata": "not shown",
    "CESIUM_primitive_outline": "not shown",
    "EXT_instance_features": "not shown",
    "EXT_lights_ies": "not shown",
    "EXT_lights_image_based": "not shown",
    "EXT_materials_bump": "not shown",
    "EXT_mesh_features": "not shown",
    "EXT_mesh_manifold": "not shown",
    "EXT_structural_metadata": "not shown",
    "FB_ngon_encoding": "not shown",
    "GODOT_single_root": "not shown",
    "KHR_animation2": "not shown",
    "KHR_animation_pointer": "not shown",
    "KHR_audio": "not shown",
    "KHR_audio_emitter": "not shown",
    "KHR_collision_shapes": "not shown",
    "KHR_implicit_shapes": "not shown",
    "KHR_interactivity": "not shown",
    "KHR_lights": "not shown",
    "KHR_lights_punctual": "not shown",
    "KHR_materials_anisotropy": "not shown",
    "KHR_materials_clearcoat": "not shown",
    "KHR_materials_dispersion": "not shown",
    "KHR_materials_ior": "not shown",
    "KHR_materials_iridescence": "not shown",
    "KHR_materials_specular": "not shown",
    "KHR_materials_variants": "not shown",
    "KHR_node_hoverability": "not shown",
    "KHR_node_selectability": "not shown",
    "KHR_physics_rigid_bodies": "not shown",
    "KHR_xmp": "not shown",
    "KHR_xmp_json_ld": "not shown",
    "MPEG_audio_spatial": "not shown",
    "MSFT_lod": "not shown",  # a scene names the finest level; where there is none, the others are left out
    "MSFT_packing_normalRoughnessMetallic": "not shown",
    "MSFT_packing_occlusionRoughnessMetallic": "not shown",
    "OMI_physics_body": "not shown",
    "OMI_physics_shape": "not shown",
    "VRM": "not shown",
    "VRMC_node_constraint": "not shown",
    "VRMC_springBone": "not shown",
    "VRMC_vrm": "not shown",
}


def check(root: Entry) -> list[Loss]:
    """The extensions that a document uses and that are not drawn. DataError names one that it requires and that is not
    known."""
    required = root.texts("extensionsRequired")
    for name in required:
        if name not in EXTENSIONS:
            raise unread(name)
    used = dict.fromkeys((*root.texts("extensionsUsed"), *required))
    return [Loss("extension ignored", name) for name in used if EXTENSIONS.get(name, "told") == "told"]


def unread(name: str) -> DataError:
    """For an extension without which a file has no meaning."""
    return DataError(f"needs {name[:100]}, which is not read")
