"""Installs the run time: with colcon as an ament_python package, or with pip."""

from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
NAME = "sfm_ros"


def described(name: str) -> ElementTree.Element:
    """The first element of that name in package.xml, which colcon and pip both report."""
    found = ElementTree.parse(ROOT / "package.xml").find(name)
    if found is None or not found.text:
        raise RuntimeError(f"package.xml has no <{name}>")
    return found


def requirements() -> list[str]:
    """The lines of requirements/runtime.txt without comments."""
    lines = (ROOT / "requirements" / "runtime.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def on_any_machine(package: str) -> list[str]:
    """The requirement of a package without the kind of machine on which it is a default."""
    return [line.partition(";")[0].strip() for line in requirements() if line.startswith(package)]


def shared(*folders: str) -> list[tuple[str, list[str]]]:
    """The folders with all below them under share/, in the form that data_files takes."""
    files: dict[str, list[str]] = {}
    for path in sorted(path for folder in folders for path in (ROOT / folder).rglob("*")):
        relative = path.relative_to(ROOT)
        if path.is_file() and "__pycache__" not in relative.parts:
            files.setdefault(f"share/{NAME}/{relative.parent}", []).append(str(relative))
    return list(files.items())


setup(
    name=NAME,
    version=described("version").text,
    description=described("description").text,
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    maintainer=described("maintainer").text,
    maintainer_email=described("maintainer").get("email"),
    url=described("url").text,
    license=described("license").text,
    python_requires=">=3.10",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={
        NAME: ["models/**/*"],
        f"{NAME}.engines": ["*.npz"],
        f"{NAME}.evaluation.depth": ["kitti_splits/*.yaml"],
        f"{NAME}.evaluation.report": ["*.css", "*.j2"],
        f"{NAME}.ros.process": ["*.xml"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml", "README.md", "CHANGELOG.md", "LICENSE"]),
        *shared("launch", "config", "rviz", "docs"),
    ],
    install_requires=requirements(),
    extras_require={"test": ["pytest"], "openvino": on_any_machine("openvino")},
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "sfm_node = sfm_ros.ros.entry_points:node",
            "sfm_lifecycle_node = sfm_ros.ros.entry_points:lifecycle_node",
            "sfm_bag_player = sfm_ros.ros.entry_points:bag_player",
            "sfm_build_engine = sfm_ros.cli.build_engine:main",
            "sfm_demo = sfm_ros.cli.demo:main",
            "sfm_evaluate = sfm_ros.cli.evaluate:main",
            "sfm_kitti_to_bag = sfm_ros.cli.kitti_to_bag:main",
            "sfm_doctor = sfm_ros.ros.doctor.command:main",
            "sfm_static_transform = sfm_ros.ros.entry_points:static_transform",
            "sfm_ground_truth_path = sfm_ros.ros.entry_points:ground_truth_path",
            "sfm_bag_recorder = sfm_ros.ros.entry_points:bag_recorder",
        ]
    },
)
