"""``python -m sfm_ros.ros.doctor``: sfm_doctor without an installation."""

import sys

from sfm_ros.ros.doctor.command import main

sys.exit(main())
