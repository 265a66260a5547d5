"""``python -m sfm_ros.ros.doctor``: the doctor without an installation."""

import sys

from sfm_ros.ros.doctor.command import main

sys.exit(main())
