"""The program sfm_doctor: checks of a running system or of a bag."""
