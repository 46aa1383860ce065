"""What spoken and written conversations share: hearing an utterance, answering it in its session, speaking it."""
