"""Changes graphs after they were exported: faster, in other precisions, calibrated, measured.

Everything here works on ONNX files alone, without torch and without a checkpoint.
"""
