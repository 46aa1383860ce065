"""OpenAI's paths under /v1, as the `openai` package calls them: a module with a `router` for each."""
