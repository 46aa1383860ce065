/** Server-sent events over fetch: an EventSource can't send a key in a header. Connects again by itself. */

import { ApiError, send } from './client'

export type ServerEvent = { event: string; data: string; id: string }

/** The events of a stream of text, as far as they are complete, and what is left over. */
export function parseEvents(text: string): { events: ServerEvent[]; rest: string } {
  const blocks = text.replace(/\r\n?/g, '\n').split('\n\n')
  const rest = blocks.pop() ?? ''
  const events: ServerEvent[] = []
  for (const block of blocks) {
    const one: ServerEvent = { event: 'message', data: '', id: '' }
    const data: string[] = []
    for (const line of block.split('\n')) {
      const colon = line.indexOf(':')
      if (colon <= 0) continue // a comment keeps the line open
      const field = line.slice(0, colon)
      const value = line.slice(colon + 1).replace(/^ /, '')
      if (field === 'data') data.push(value)
      else if (field === 'event') one.event = value
      else if (field === 'id') one.id = value
    }
    if (data.length) events.push({ ...one, data: data.join('\n') })
  }
  return { events, rest }
}

const FIRST_WAIT_MS = 1000
const LONGEST_WAIT_MS = 30_000

/** Follow a stream until it ends for good or `signal` says so. `onEvent` gets parsed JSON. */
export async function follow(
  path: string,
  onEvent: (event: string, data: unknown) => void,
  signal: AbortSignal,
): Promise<void> {
  let seen = ''
  let wait = FIRST_WAIT_MS
  while (!signal.aborted) {
    try {
      const headers: Record<string, string> = { Accept: 'text/event-stream' }
      if (seen) headers['Last-Event-ID'] = seen
      const answer = await send(path, { headers, signal })
      if (answer.status === 204 || !answer.body) return
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
      let rest = ''
      for (;;) {
        const { done, value } = await reader.read()
        if (done) break
        const parsed = parseEvents(rest + value)
        rest = parsed.rest
        for (const one of parsed.events) {
          wait = FIRST_WAIT_MS
          if (one.id) seen = one.id
          onEvent(one.event, JSON.parse(one.data))
        }
      }
    } catch (error) {
      if (signal.aborted) return
      if (error instanceof ApiError && error.status >= 400 && error.status < 500 && error.status !== 429) throw error
    }
    await new Promise((resolve) => setTimeout(resolve, wait))
    wait = Math.min(LONGEST_WAIT_MS, wait * 2)
  }
}
