"""What a run leaves: summary.json, report.html and figures."""
