"""The relations that hold in a rendered scene, by the definition the pipeline uses."""

from __future__ import annotations

import numpy as np

from grand_pipeline.picturebook.scene import Scene
from grand_pipeline.relations import RelationTriple, spatial_relations

__all__ = ["RelationTriple", "scene_relations", "spatial_relations"]


def scene_relations(scene: Scene) -> tuple[RelationTriple, ...]:
    """All relations of a scene; subject and object are object ids."""
    objects = scene.objects
    return spatial_relations(
        np.array([o.box for o in objects], np.float32),
        np.array([o.depth for o in objects], np.float32),
        [o.kind for o in objects],
        [o.name for o in objects],
        (scene.image.shape[0], scene.image.shape[1]),
    )
