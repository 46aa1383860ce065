"""From a checkpoint to what serves: made whole, tried, judged, switched."""
