"""A spoken conversation over one WebSocket.

How it runs. The microphone's samples arrive in binary frames. `Endpointer` runs a voice activity detector over them: it
says when somebody begins to speak and, after enough silence, that the utterance is complete (endpointing). While
somebody still speaks, now and then a small job transcribes what there is so far, if no other work waits (early
transcription); its text goes out as a transcript that is not final. A complete utterance, or a message that was typed,
is a turn: one job of the ledger that transcribes, asks the chat model and speaks. Turns are answered one after the
other, and what the job says while it works is relayed at once: transcript, text, then audio, sentence by sentence.
Whoever speaks for 0.2 s while a reply is played, or is being made, interrupts it (barge-in): its job is cancelled and
nothing more of it is sent. If the reply had not begun, the person only paused, and both parts become one utterance.

    frames        what the two sides send each other
    socket        the socket itself: nobody waits for a reader that has stopped
    endpointing   samples in, utterances out (the only part that needs numpy)
    partial       early transcription
    turn_context  what a turn is about, and what all turns of a conversation share
    turn_job      the job of a turn and its place in the session
    relay         events of that job out to the client
    turn          one turn from its job to its end
    turns         the turns of a conversation, in order, and what interrupts them
    playback      whether the client is playing a reply
    follow        the events of a job, until it has ended
    conversation  frames, speech and the clock: what brings about turns and interruptions

Audio is judged in its own time, not by the clock: a recording sent at once is cut as if it had been spoken live. Only
a microphone that falls silent by sending nothing is noticed by the clock.
"""
