"""A spoken conversation over one WebSocket: hears where speech ends, asks for replies, and is interrupted by speech.

    secrets.py   where the key of a WebSocket stands, and how it stays out of logs
    frames.py    what the two sides say to each other
    socket.py    the socket itself: nobody waits for a reader that has stopped
    ear.py       samples in, utterances out (the only part that needs numpy)
    follow.py    what a job says while it works, until it has ended
    turn.py      one utterance or message, its job, and the reply relayed
    partial.py   the transcript of an utterance that is still being spoken
    talk.py      the state of one conversation, and who interrupts whom

Audio is heard in its own time, not by the clock: a recording sent at once is cut as if it had been spoken live. Only
a microphone that falls silent by sending nothing is noticed by the clock.
"""
