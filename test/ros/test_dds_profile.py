"""The profiles that the programs load into Fast DDS, and that the user's own comes first."""

from __future__ import annotations

import os
from xml.etree import ElementTree

import pytest

from sfm_ros.ros.process import dds_profile
from sfm_ros.ros.process.dds_profile import PROFILE, VARIABLES, give_memory_back

FROM_XML = "RMW_FASTRTPS_USE_QOS_FROM_XML"
NAMESPACE = "{http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles}"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the variables is set, and what is set ends with the test."""
    environment = {k: v for k, v in os.environ.items() if k not in (*VARIABLES, FROM_XML)}
    monkeypatch.setattr(dds_profile.os, "environ", environment)


def test_memory_profile_is_loaded() -> None:
    give_memory_back()
    assert {os.environ[name] for name in VARIABLES} == {
        str(PROFILE.with_name("fastdds_memory.xml"))
    }
    assert os.environ[FROM_XML] == "1"


def test_profile_for_large_images_stays() -> None:
    dds_profile.use_large_image_profile()
    give_memory_back()
    assert {os.environ[name] for name in VARIABLES} == {str(PROFILE)}
    assert os.environ[FROM_XML] == "1"


@pytest.mark.parametrize("name", VARIABLES)
def test_profile_of_the_user_stays(name: str) -> None:
    os.environ[name] = "/home/me/profile.xml"
    give_memory_back()
    assert FROM_XML not in os.environ
    assert [os.environ.get(each) for each in VARIABLES].count(None) == 1


@pytest.mark.parametrize("file", ["fastdds_large_images.xml", "fastdds_memory.xml"])
def test_readers_give_memory_back(file: str) -> None:
    root = ElementTree.parse(PROFILE.with_name(file)).getroot()
    reader = root.find(f".//{NAMESPACE}data_reader[@is_default_profile='true']")
    assert reader is not None
    assert reader.findtext(f"{NAMESPACE}historyMemoryPolicy") == "DYNAMIC"
