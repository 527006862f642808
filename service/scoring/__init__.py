"""Files, folders, lists and videos scored for `roadcue predict`, one row a frame, written as it goes.

paths, patterns   arguments -> file names, streamed in a stable order
videos     a video -> its sampled frames
sources    file names -> frames to score
local, remote   frames -> rows, in order: by the model in this process, or by a running service
rows       what one row says; formats and parquet_file write it, resuming reads it back
run        all of it, with progress
"""
