"""The transforms that a bag recorded."""

from __future__ import annotations

from sfm_ros.bags.reader import BagFile
from sfm_ros.bags.transform_tree import TransformTree

TF_TYPES = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")
_STATIC = "tf_static"


def read_transforms(bag: BagFile, with_moving: bool) -> TransformTree:
    """All transforms on a bag's ``/tf_static`` and, if asked for, ``/tf``.

    Raises:
        SourceError: the bag is damaged.
    """
    tree = TransformTree()
    topics = [
        name
        for name, (kind, _) in bag.topics.items()
        if kind in TF_TYPES and (with_moving or name.endswith(_STATIC))
    ]
    for record in bag.records(topics) if topics else ():
        for transform in record.message.transforms:
            tree.add_message(transform, record.topic.endswith(_STATIC))
    return tree
