"""What a training leaves behind: runs, evaluations, comparisons. No torch."""
