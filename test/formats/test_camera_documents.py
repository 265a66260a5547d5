"""Calibration files of other programs; of several cameras the one that the images are of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mutations import calibration_files as files

from sfm_ros.cameras.pixels import choose_camera
from sfm_ros.errors import CalibrationError
from sfm_ros.formats.calibration import read_camera
from sfm_ros.formats.camera_info import StatedCamera

SIZE = (640, 480)
LENS = (-0.28, 0.07, 0.0002, 0.00002)


@pytest.fixture
def read(tmp_path: Path):
    def make(name: str, text: str, size=SIZE, encoding="utf-8", **options) -> StatedCamera:
        path = tmp_path / name
        path.write_text(text, encoding=encoding)
        return read_camera(path, *(size or (None, None)), **options)

    return make


SAME = [name for name in files.SAMPLES if name != "fisheye.yaml"]


@pytest.mark.parametrize("name", SAME)
def test_every_program_describes_the_same_camera(name: str, read) -> None:
    options = {"names": ("/cam0/image_raw",)} if name == "camchain.yaml" else {}
    camera = read(name, files.SAMPLES[name], **options).intrinsics
    assert (camera.width, camera.height) == SIZE
    expected = (458.5, 457.5, 320.25, 240.75)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == pytest.approx(expected)
    if name in ("calib.txt", "calib_cam_to_cam.txt", "K.txt"):
        assert not camera.is_distorted
    else:
        assert camera.distortion_model == "plumb_bob"
        assert camera.distortion[:4] == pytest.approx(LENS) and not any(camera.distortion[4:])


@pytest.mark.parametrize("name", [n for n in files.SAMPLES if "txt" not in n and "chain" not in n])
def test_a_byte_order_mark_and_windows_lines_change_nothing(name: str, read) -> None:
    size = (512, 512) if name == "fisheye.yaml" else SIZE
    text = files.SAMPLES[name]
    plain, marked = (
        read(name, content, size, encoding)
        for content, encoding in ((text, "utf-8"), (text.replace("\n", "\r\n"), "utf-8-sig"))
    )
    assert (marked.intrinsics.K == plain.intrinsics.K).all()
    assert marked.intrinsics.distortion == plain.intrinsics.distortion


def test_a_fisheye_of_orb_slam_and_of_opencv(read) -> None:
    camera = read("tum.yaml", files.ORB_SLAM_FISHEYE, (512, 512)).intrinsics
    assert camera.distortion_model == "equidistant" and camera.distortion[2] == -0.0020
    text = files.OPENCV.replace("fisheye_model: 0", "fisheye_model: 1").replace(
        "rows: 5", "rows: 4"
    )
    camera = read("f.yml", text.replace("2e-05, 0. ]", "2e-05 ]")).intrinsics
    assert camera.distortion_model == "equidistant" and len(camera.distortion) == 4


@pytest.mark.parametrize(
    ("model", "count", "expected"),
    [("fisheye", 4, "equidistant"), ("rational_polynomial", 8, "rational_polynomial")],
)
def test_camera_model_as_the_key_of_the_distortion(model, count, expected, read) -> None:
    """As camera_calibration wrote it for ROS melodic."""
    values = ", ".join(["-0.03", "0.01", "0.0", "0.0", "0.0", "0.01", "0.0", "0.0"][:count])
    text = files.ROS.replace("distortion_model: plumb_bob", f"camera_model: {model}")
    text = text.replace("cols: 5", f"cols: {count}").replace(f"[{files.D}, 0.0]", f"[{values}]")
    camera = read("ost.yaml", text).intrinsics
    assert camera.distortion_model == expected and len(camera.distortion) == count


def test_pinhole_as_the_camera_model_is_no_distortion_model(read) -> None:
    text = files.ROS.replace("distortion_model: plumb_bob", "camera_model: pinhole")
    assert read("ost.yaml", text).intrinsics.distortion_model == "plumb_bob"


@pytest.mark.parametrize("size", ["640.0", "'640'", "6.4e+2"])
def test_a_size_that_is_written_as_a_float(size: str, read) -> None:
    text = files.ROS.replace("image_width: 640", f"image_width: {size}")
    assert read("ost.yaml", text, None).intrinsics.width == 640


@pytest.mark.parametrize("size", ["640.5", "-640", "true", "[640]", "1e300"])
def test_a_size_that_is_none(size: str, read) -> None:
    with pytest.raises(CalibrationError, match="image_width is .*expected a positive number"):
        read("ost.yaml", files.ROS.replace("image_width: 640", f"image_width: {size}"), None)


def test_region_and_binning_of_a_printed_message(read) -> None:
    stated = read("message.yaml", files.MESSAGE, None)
    assert (stated.intrinsics.width, stated.intrinsics.fx) == (640, 458.5)
    assert stated.size_note == "1280x960 is binned 2x2"
    with pytest.raises(CalibrationError, match="640x480 images .*binned 2x2.*1280x960"):
        read("message.yaml", files.MESSAGE, (1280, 960))
    crop = files.MESSAGE.replace("height: 0, width: 0", "height: 480, width: 640")
    crop = crop.replace("x_offset: 0, y_offset: 0", "x_offset: 320, y_offset: 240")
    camera = read("message.yaml", crop, (320, 240)).intrinsics
    assert camera.cx == pytest.approx((641 - 320 + 0.5) / 2 - 0.5)


# ---- several cameras -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "fx"),
    [
        ({"camera": "cam0"}, 458.5),
        ({"camera": 1}, 400.5),
        ({"camera": "/cam1/image_raw"}, 400.5),
        ({"names": ("/cam1/image_raw",)}, 400.5),
        ({"names": ("cam1/image_raw/compressed",)}, 400.5),
        ({"names": ("mav0/cam0/data",)}, 458.5),
        ({"names": ("data/cam1",)}, 400.5),
        ({"names": ("recording/image_01",)}, 400.5),
    ],
)
def test_kalibr_by_option_topic_and_folder(options, fx: float, read) -> None:
    assert read("camchain.yaml", files.KALIBR, **options).intrinsics.fx == fx


def test_kalibr_by_size(read) -> None:
    text = files.KALIBR.replace("[640, 480]", "[320, 240]", 1)
    assert read("camchain.yaml", text).intrinsics.fx == 400.5


def test_nothing_shows_which_camera(read) -> None:
    with pytest.raises(CalibrationError, match=r"cam0, cam1\).*--camera"):
        read("camchain.yaml", files.KALIBR, names=("images",))
    with pytest.raises(CalibrationError, match="no camera 2; the file has cam0, cam1"):
        read("camchain.yaml", files.KALIBR, camera=2)


def test_cameras_that_are_equal_need_no_choice(read) -> None:
    text = files.KITTI.replace("P0", "P7")
    stated = read("calib.txt", text)
    assert stated.intrinsics.fx == 458.5 and not stated.remarks


def test_the_default_of_kitti_is_reported(read) -> None:
    text = files.KITTI.replace("P2: 458.5", "P2: 400.5")
    stated = read("calib.txt", text)
    assert stated.intrinsics.fx == 458.5 and "camera 0 is taken" in stated.remarks[0]
    assert choose_camera(stated).is_doubtful
    assert read("calib.txt", text, names=("sequences/03/image_2",)).intrinsics.fx == 400.5


def test_another_camera_of_kitti_does_not_block_the_requested_one(read) -> None:
    raw = files.KITTI_RAW.replace("_02", "_03") + files.KITTI_RAW
    assert read("raw.txt", raw, camera="2").intrinsics.fx == 458.5
    for old, new in (
        ("P_rect_03: 458.5", "P_rect_03: none"),
        ("S_rect_03: 6.4", "S_rect_03: 6.3"),
        ("P_rect_03: 458.5 ", "P_rect_03: "),
    ):
        assert old in raw
        changed = raw.replace(old, new)
        assert read("raw.txt", changed, camera="02").intrinsics.fx == 458.5
        with pytest.raises(CalibrationError, match="03"):
            read("raw.txt", changed, camera="image_03")
        with pytest.raises(CalibrationError, match="no camera 7; the file has 03, 02"):
            read("raw.txt", changed, camera=7)
    odometry = files.KITTI.replace("P1: 458.5", "P1: none")
    assert read("calib.txt", odometry, camera=2).intrinsics.fx == 458.5


def test_a_stereo_pair_of_opencv_and_of_orb_slam(read) -> None:
    matrix = "!!opencv-matrix\n   rows: 3\n   cols: 3\n   dt: d\n   data: [{}]\n"
    other = files.K.replace("458.5", "470.5")
    opencv = f"%YAML:1.0\n---\nM1: {matrix.format(files.K)}M2: {matrix.format(other)}"
    orb = opencv.replace("---\n", "").replace("M1", "LEFT.K").replace("M2", "RIGHT.K")
    for text in (opencv, orb):
        assert read("pair.yml", text, names=("stereo/left",)).intrinsics.fx == 458.5
        assert read("pair.yml", text, camera="right").intrinsics.fx == 470.5


def test_cameras_under_names_of_their_own(read) -> None:
    block = "".join(f"  {line}\n" for line in files.ROS.splitlines())
    text = f"front:\n{block}rear:\n{block.replace('458.5', '500.5')}"
    assert read("rig.yaml", text, camera="rear").intrinsics.fx == 500.5
    assert read("rig.yaml", text, names=("/car/front",)).intrinsics.fx == 458.5


# ---- refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("camchain.yaml", files.EUROC.replace("pinhole", "omni"), "'omni', expected pinhole"),
        ("camchain.yaml", files.EUROC.replace("[458.5, 457.5, ", "["), "expected fx, fy, cx and"),
        ("e.yaml", files.EUROC.replace("radial-tangential", "fov"), "'fov', expected one of"),
        ("o.yaml", files.ORB_SLAM.replace("PinHole", "Ocam"), "Camera.type is 'Ocam'"),
        ("v.yaml", files.VINS.replace("PINHOLE", "MEI"), "model_type is 'MEI'"),
        ("x.xml", files.OPENCV_XML.replace("?>", "?><!DOCTYPE x>"), "declares entities"),
        ("x.xml", files.OPENCV_XML[:200], "not an XML file"),
        ("t.yaml", "T_BS: [1, 2]\n", "no camera_matrix; the file has T_BS"),
        ("t.txt", "hello: world\n", "no known calibration.*found hello"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(name: str, text: str, found: str, read) -> None:
    with pytest.raises(CalibrationError, match=found):
        read(name, text)


def test_rectified_settings_of_orb_slam_are_taken_at_their_word(read) -> None:
    stated = read("r.yaml", files.ORB_SLAM.replace("PinHole", "Rectified"))
    chosen = choose_camera(stated)
    assert chosen.is_rectified and "Camera.type is Rectified" in chosen.text


@pytest.mark.parametrize("key", ["Camera.width", "Camera.height"])
def test_a_bad_size_of_orb_slam_is_reported_by_its_key(key: str, read) -> None:
    text = re.sub(rf"^{key}:.*$", f"{key}: -1", files.ORB_SLAM, flags=re.MULTILINE)
    assert text != files.ORB_SLAM
    with pytest.raises(CalibrationError, match=f"{key} is -1"):
        read("m.yaml", text)


@pytest.mark.parametrize("key", ["LEFT.width", "LEFT.height"])
def test_a_bad_size_of_a_stereo_pair_is_reported_by_its_key(key: str, read) -> None:
    matrix = f"!!opencv-matrix\n   rows: 3\n   cols: 3\n   dt: d\n   data: [{files.K}]\n"
    with pytest.raises(CalibrationError, match=f"{key} is -1"):
        read("pair.yml", f"%YAML:1.0\nLEFT.K: {matrix}{key}: -1\n")


def test_orb_slam_without_a_size_takes_the_images(read) -> None:
    lines = [line for line in files.ORB_SLAM.splitlines() if "idth" not in line]
    text = "\n".join(line for line in lines if "eight" not in line)
    assert read("m.yaml", text, (752, 480)).intrinsics.width == 752
    with pytest.raises(CalibrationError, match="does not hold the image's size"):
        read("m.yaml", text, None)
