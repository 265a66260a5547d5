"""Motion between frames: from the networks, from tracked keypoints, or from both."""
