"""A calibration file of every program, all of the same 640x480 camera unless they are of two."""

from __future__ import annotations

K = "458.5, 0.0, 320.25, 0.0, 457.5, 240.75, 0.0, 0.0, 1.0"
D = "-0.28, 0.07, 0.0002, 0.00002"

ROS = f"""\
image_width: 640
image_height: 480
camera_name: narrow_stereo
camera_matrix:
  rows: 3
  cols: 3
  data: [{K}]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [{D}, 0.0]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1, 0, 0, 0, 1, 0, 0, 0, 1]
projection_matrix:
  rows: 3
  cols: 4
  data: [440.0, 0, 318.0, 0, 0, 439.0, 239.0, 0, 0, 0, 1, 0]
"""
MESSAGE = f"""\
header:
  stamp: {{sec: 1, nanosec: 2}}
  frame_id: camera
height: 960
width: 1280
distortion_model: plumb_bob
D: [{D}, 0.0]
K: [917.0, 0.0, 641.0, 0.0, 915.0, 482.0, 0.0, 0.0, 1.0]
R: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
P: [917.0, 0.0, 641.0, 0.0, 0.0, 915.0, 482.0, 0.0, 0.0, 0.0, 1.0, 0.0]
binning_x: 2
binning_y: 2
roi: {{x_offset: 0, y_offset: 0, height: 0, width: 0, do_rectify: false}}
---
"""
EUROC = f"""\
# General sensor definitions.
sensor_type: camera
comment: VI-Sensor cam0 (MT9M034)
T_BS:
  cols: 4
  rows: 4
  data: [0.0148, -0.9998, 0.0041, -0.0216, 0.9995, 0.0149, 0.0257, -0.0646,
         -0.0257, 0.0037, 0.9996, 0.0098, 0.0, 0.0, 0.0, 1.0]
rate_hz: 20
resolution: [640, 480]
camera_model: pinhole
intrinsics: [458.5, 457.5, 320.25, 240.75] #fu, fv, cu, cv
distortion_model: radial-tangential
distortion_coefficients: [{D}]
"""
KALIBR = f"""\
cam0:
  cam_overlaps: [1]
  camera_model: pinhole
  distortion_coeffs: [{D}]
  distortion_model: radtan
  intrinsics: [458.5, 457.5, 320.25, 240.75]
  resolution: [640, 480]
  rostopic: /cam0/image_raw
cam1:
  T_cn_cnm1:
  - [1.0, 0.0, 0.0, -0.11]
  - [0.0, 1.0, 0.0, 0.0]
  - [0.0, 0.0, 1.0, 0.0]
  - [0.0, 0.0, 0.0, 1.0]
  cam_overlaps: [0]
  camera_model: pinhole
  distortion_coeffs: [-0.01, 0.02, -0.01, 0.002]
  distortion_model: equidistant
  intrinsics: [400.5, 401.5, 322.25, 238.75]
  resolution: [640, 480]
  rostopic: /cam1/image_raw
"""
OPENCV = """\
%YAML:1.0
---
calibration_time: "Mon 01 Jan 2024 10:00:00 AM CET"
image_width: 640
image_height: 480
flags: 0
fisheye_model: 0
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 4.585e+02, 0., 3.2025e+02, 0., 4.575e+02, 2.4075e+02, 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 5
   cols: 1
   dt: d
   data: [ -2.8e-01, 7e-02, 2e-04, 2e-05, 0. ]
avg_reprojection_error: 3.1e-01
"""
OPENCV_XML = """\
<?xml version="1.0"?>
<opencv_storage>
<calibration_time>"Mon 01 Jan 2024"</calibration_time>
<image_width>640</image_width>
<image_height>480</image_height>
<camera_matrix type_id="opencv-matrix">
  <rows>3</rows>
  <cols>3</cols>
  <dt>d</dt>
  <data>
    4.585e+02 0. 3.2025e+02 0. 4.575e+02 2.4075e+02 0. 0. 1.</data></camera_matrix>
<distortion_coefficients type_id="opencv-matrix">
  <rows>5</rows>
  <cols>1</cols>
  <dt>d</dt>
  <data>
    -2.8e-01 7e-02 2e-04 2e-05 0.</data></distortion_coefficients>
</opencv_storage>
"""
ORB_SLAM = """\
%YAML:1.0

#--------------------------------------------------------------------------------------------
# Camera Parameters. Adjust them!
#--------------------------------------------------------------------------------------------
File.version: "1.0"
Camera.type: "PinHole"
Camera1.fx: 458.5
Camera1.fy: 457.5
Camera1.cx: 320.25
Camera1.cy: 240.75
Camera1.k1: -0.28
Camera1.k2: 0.07
Camera1.p1: 0.0002
Camera1.p2: 0.00002
Camera.width: 640
Camera.height: 480
Camera.newWidth: 600
Camera.newHeight: 350
Camera.fps: 20
Camera.RGB: 1
"""
ORB_SLAM_FISHEYE = """\
%YAML:1.0
Camera.type: "KannalaBrandt8"
Camera.fx: 190.9
Camera.fy: 190.9
Camera.cx: 254.9
Camera.cy: 256.8
Camera.k1: 0.0034
Camera.k2: 0.0007
Camera.k3: -0.0020
Camera.k4: 0.0002
Camera.width: 512
Camera.height: 512
"""
VINS = """\
%YAML:1.0
---
model_type: PINHOLE
camera_name: camera
image_width: 640
image_height: 480
distortion_parameters:
   k1: -0.28
   k2: 0.07
   p1: 0.0002
   p2: 0.00002
projection_parameters:
   fx: 458.5
   fy: 457.5
   cx: 320.25
   cy: 240.75
"""
OST = """\
# oST version 5.0 parameters


[image]

width
640

height
480

[narrow_stereo]

camera matrix
458.500000 0.000000 320.250000
0.000000 457.500000 240.750000
0.000000 0.000000 1.000000

distortion
-0.280000 0.070000 0.000200 0.000020 0.000000

rectification
1.000000 0.000000 0.000000
0.000000 1.000000 0.000000
0.000000 0.000000 1.000000

projection
440.000000 0.000000 318.000000 0.000000
0.000000 439.000000 239.000000 0.000000
0.000000 0.000000 1.000000 0.000000
"""
KITTI = "\n".join(f"P{i}: 458.5 0 320.25 {-i} 0 457.5 240.75 0 0 0 1 0" for i in range(4)) + "\n"
KITTI_RAW = """\
calib_time: 09-Jan-2012 13:57:47
corner_dist: 9.950000e-02
S_02: 7.000000e+02 5.200000e+02
K_02: 5.5e+02 0 3.5e+02 0 5.51e+02 2.6e+02 0 0 1
D_02: -3.7e-01 2.0e-01 2.2e-03 1.3e-03 -7.2e-02
R_02: 1 0 0 0 1 0 0 0 1
T_02: 0 0 0
S_rect_02: 6.400000e+02 4.800000e+02
R_rect_02: 1 0 0 0 1 0 0 0 1
P_rect_02: 458.5 0 320.25 40.0 0 457.5 240.75 0 0 0 1 0.002
"""
NUMBERS = "458.5 0 320.25\n0 457.5 240.75\n0 0 1\n"

SAMPLES = {
    "ost.yaml": ROS,
    "message.yaml": MESSAGE,
    "sensor.yaml": EUROC,
    "camchain.yaml": KALIBR,
    "out_camera_data.yml": OPENCV,
    "out_camera_data.xml": OPENCV_XML,
    "euroc.yaml": ORB_SLAM,
    "fisheye.yaml": ORB_SLAM_FISHEYE,
    "vins.yaml": VINS,
    "ost.txt": OST,
    "calib.txt": KITTI,
    "calib_cam_to_cam.txt": KITTI_RAW,
    "K.txt": NUMBERS,
}
"""Name of a file -> its text."""
