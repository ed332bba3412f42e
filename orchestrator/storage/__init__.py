"""Files we keep: in a local folder or a bucket, under names of ours, of types we know by their content."""
