"""From a recording to a transcript: windows of speech, segments, cues, renderings."""
