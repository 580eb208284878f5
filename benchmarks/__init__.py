"""What `make bench` measures: ratios that hold on any machine, each pair in one run."""
