"""sfm_doctor's view of a live system."""
