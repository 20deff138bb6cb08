"""What heaptop costs, measured: `make bench`, or `python -m tools.bench [SECTION …]`.

Each section is a module with `rows()`, which measures and gives the rows of the table as they are ready; to add one,
write it and name it in `__main__.SECTIONS`. Figures are CPU time (user and system); ratios are of measurements that
took turns in one run, so that a busy machine falsifies both alike.
"""
