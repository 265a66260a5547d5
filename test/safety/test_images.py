"""An image is refused by its header, before the memory for its pixels is taken."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from bag_recorder import CAMERA
from hostile_images import encoded, png_bomb, with_size
from limited import run_limited

from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.errors import ImageError, SourceError
from sfm_ros.evaluation.depth.ground_truth import read_depth_image
from sfm_ros.evaluation.runs.inputs import InputOptions, open_input
from sfm_ros.formats.image_codec import decode_compressed
from sfm_ros.safety.image_size import image_size
from sfm_ros.sources.bag import BagSource
from sfm_ros.sources.folder import FolderSource, read_image
from sfm_ros.sources.video import VideoSource

KINDS = ("png", "jpg", "bmp", "webp", "tiff")
TOO_LARGE = r"the image is {} pixels, expected at most {} million"


@pytest.fixture(scope="module")
def bomb(tmp_path_factory):
    path = tmp_path_factory.mktemp("bomb") / "000000.png"
    path.write_bytes(png_bomb())
    assert path.stat().st_size < 1_000_000
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(51, 37), (8, 300)])
def test_the_size_is_that_of_the_decoded_image(kind, size):
    assert image_size(encoded(kind, *size)) == size
    assert decode_compressed(encoded(kind, *size)).shape == (size[1], size[0], 3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_larger_header_is_refused_before_decoding(kind, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("the image was decoded"))
    with pytest.raises(ImageError, match=TOO_LARGE.format("16000x16000", 64)):
        decode_compressed(with_size(kind, 16_000, 16_000))
    with pytest.raises(ImageError, match=TOO_LARGE.format("51x37", "0.001")):
        decode_compressed(encoded(kind), max_megapixels=0.001)


def test_the_tiles_of_a_tiff_image_count_too():
    data = bytearray(encoded("tiff"))
    photometric = struct.pack("<HHI", 262, 3, 1)
    at = data.index(photometric)
    data[at : at + 12] = struct.pack("<HHII", 322, 4, 1, 40_000)  # the width of a tile
    assert image_size(bytes(data)) == (40_000, 37)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_or_damaged_header_raises_no_other_error(kind):
    data = bytearray(encoded(kind))
    for end in range(0, 60):
        with pytest.raises(ImageError):
            image_size(bytes(data[:end])) if end < 12 else decode_compressed(bytes(data[:end]))
    random = np.random.default_rng(1)
    for _ in range(300):
        damaged = bytearray(data)
        damaged[random.integers(0, 60)] = random.integers(0, 256)
        try:
            decode_compressed(bytes(damaged))
        except ImageError:
            pass


def test_other_formats_of_opencv_are_not_decoded():
    for kind in ("ppm", "hdr", "gif"):
        pixels = np.zeros((4, 4, 3), np.float32 if kind == "hdr" else np.uint8)
        ok, data = cv2.imencode(f".{kind}", pixels)
        assert ok and cv2.imdecode(data, cv2.IMREAD_ANYCOLOR) is not None
        with pytest.raises(ImageError, match="no JPEG, PNG, WebP, BMP or TIFF image"):
            decode_compressed(data)


def test_segments_without_end_are_refused_soon():
    data = b"\xff\xd8" + b"\xff\xe0\x00\x02" * 5_000_000 + b"\xff\xd9"
    with pytest.raises(ImageError, match="no size in front of its pixels"):
        image_size(data)
    with pytest.raises(ImageError, match="damaged"):
        image_size(b"\xff\xd8" + bytes(100_000))


@pytest.mark.parametrize(
    "reading",
    [
        "from sfm_ros.sources.folder import read_image as read",
        "from sfm_ros.formats.image_codec import decode_compressed\n"
        "read = lambda path: decode_compressed(path.read_bytes(), 'png')",
        "from sfm_ros.evaluation.depth.ground_truth import read_depth_image\n"
        "read = lambda path: read_depth_image(path, 256.0)",
        "from sfm_ros.sources.kitti.to_bag import _is_gray as read",
    ],
)
def test_a_small_file_cannot_take_gigabytes(bomb, reading):
    run = run_limited(
        f"{reading}\n"
        "import sys; from pathlib import Path; from sfm_ros.errors import SfmRosError\n"
        "try: read(Path(sys.argv[1]))\n"
        "except SfmRosError as error: print(error)\n",
        bomb,
    )
    assert run.code == 0, run.error
    assert "30000x30000 pixels, expected at most 64 million" in run.output
    assert run.peak_mib < 400


def test_an_image_larger_than_the_memory_is_an_error_of_the_image(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png_bomb(8_000, 7_500))
    run = run_limited(
        "import sys; from pathlib import Path; from sfm_ros.errors import SfmRosError\n"
        "from sfm_ros.sources.folder import read_image\n"
        "import resource; in_use = int(open('/proc/self/statm').read().split()[0]) * 4096\n"
        "resource.setrlimit(resource.RLIMIT_AS, (in_use + 100 * 2**20, 2**31))\n"
        "try: read_image(Path(sys.argv[1]))\n"
        "except SfmRosError as error: print(error)\n",
        path,
    )
    assert run.code == 0, run.error
    assert "the memory does not suffice for it" in run.output


def test_the_limit_reaches_folders_and_videos(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "0.png").write_bytes(encoded("png", 320, 240))
    K = tmp_path / "K.txt"
    K.write_text("100 0 160 0 100 120 0 0 1")
    assert len(FolderSource(folder, K)) == 1
    with pytest.raises(SourceError, match=TOO_LARGE.format("320x240", "0.07")):
        FolderSource(folder, K, max_megapixels=0.07)
    path = str(tmp_path / "a.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (320, 240))
    writer.write(np.zeros((240, 320, 3), np.uint8))
    writer.release()
    assert len(VideoSource(path, K)) == 1
    with pytest.raises(SourceError, match=TOO_LARGE.format("320x240", "0.07")):
        VideoSource(path, K, max_megapixels=0.07)


def test_the_limit_reaches_bags(new_bag):
    recorder = new_bag("mcap")
    recorder.compressed("/image", encoded("png", 8, 6), 0)
    recorder.compressed("/image", with_size("png", 30_000, 30_000), 1)
    path = recorder.done()
    source = BagSource(path, calib=CAMERA)
    assert [len(list(source)), source.unreadable] == [1, 1]
    options = InputOptions(kind="bag", path=path, max_megapixels=1e-6)
    with pytest.raises(SourceError, match=TOO_LARGE.format("8x6", "1e-06")):
        open_input(options)


DEEP = [cv2.resize(np.uint16([[4, 900], [500, 90]]), (64, 48)), np.full((96, 128), 60_000, "u2")]
"""Of 16 bits, and a brighter one that is larger than 0.01 million pixels."""


def test_a_folder_and_a_bag_decode_none_of_16_bits_beyond_the_limit(
    new_bag, tmp_path, monkeypatch
):
    recorder, folder = new_bag("mcap"), tmp_path / "images"
    folder.mkdir()
    for index in (0, 1, 2):
        data = cv2.imencode(".png", DEEP[index % 2])[1].tobytes()
        (folder / f"{index}.png").write_bytes(data)
        recorder.compressed("/image", data, index)
    camera = CameraIntrinsics(width=64, height=48, fx=50, fy=50, cx=31.5, cy=23.5)
    decoded, decode = [], cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda *a: decoded.append(decode(*a)) or decoded[-1])
    for source in (
        BagSource(recorder.done(), calib=camera, max_megapixels=0.01),
        FolderSource(folder, camera, max_megapixels=0.01),
    ):
        first, _, last = source.deferred()
        np.testing.assert_array_equal(first().frame.rgb, last().frame.rgb)
    assert {image.shape for image in decoded} == {(48, 64)}


def test_a_folder_of_stated_bits_decodes_an_image_once(tmp_path, monkeypatch):
    cv2.imwrite(str(tmp_path / "0.png"), DEEP[0])
    camera = CameraIntrinsics(width=64, height=48, fx=50, fy=50, cx=31.5, cy=23.5)
    source = FolderSource(tmp_path, camera, bits=10)
    decoded, decode = [], cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda *a: decoded.append(a) or decode(*a))
    (item,) = source
    assert len(decoded) == 1
    np.testing.assert_array_equal(item.frame.rgb[:, :, 0], DEEP[0] >> 2)


def test_depth_images_are_read_as_before(tmp_path):
    depth = np.full((4, 6), 512, np.uint16)
    cv2.imwrite(str(tmp_path / "d.png"), depth)
    np.testing.assert_array_equal(read_depth_image(tmp_path / "d.png", 256.0), 2.0)
    with pytest.raises(SourceError, match="is missing"):
        read_depth_image(tmp_path / "none.png", 256.0)
    (tmp_path / "e.png").symlink_to("/dev/zero")
    with pytest.raises(SourceError, match="not a regular file"):
        read_depth_image(tmp_path / "e.png", 256.0)
    with pytest.raises(SourceError, match="not a regular file"):
        read_image(tmp_path / "e.png")
