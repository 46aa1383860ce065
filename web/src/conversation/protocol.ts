/** The conversation as the server tells it (docs/conversation.md), put together into turns. */

import type { Problem } from '../api/client'

export type Times = {
  endpointing_ms?: number
  transcript_ms?: number
  first_text_ms?: number
  first_audio_ms?: number
  total_ms?: number
}

export type ServerEvent =
  | { type: 'session'; session_id: string; language: string | null; voice: string | null }
  | { type: 'vad'; speaking: boolean }
  | { type: 'transcript'; text: string; final: boolean; turn?: number; language?: string | null; confidence?: number | null }
  | { type: 'mode'; mode: 'local' | 'cloud'; turn: number }
  | { type: 'reply_delta'; text: string; turn: number }
  | { type: 'reply_text'; text: string; turn: number }
  | { type: 'reply_audio'; audio: string; text: string; index: number; last: boolean; turn: number }
  | { type: 'interrupted'; reason: 'speech' | 'client' | 'restarted'; turn?: number }
  | ({ type: 'turn_end'; turn: number | null; outcome: Outcome; job_id: string | null } & Times)
  | { type: 'config'; language: string | null; voice: string | null }
  | ({ type: 'error'; turn?: number } & Partial<Problem>)

export type Outcome = 'answered' | 'interrupted' | 'nothing_heard' | 'failed'

export type Turn = {
  id: string
  /** The server's number; null while a typed message has not been heard of. */
  number: number | null
  said: string
  final: boolean
  typed: boolean
  language: string | null
  confidence: number | null
  reply: string
  mode: string | null
  interrupted: boolean
  outcome: Outcome | null
  times: Times
  /** From the end of what was said to the first sound at the loudspeaker, measured here. */
  heard_ms: number | null
  problem: Partial<Problem> | null
}

export type Talk = { turns: Turn[]; speaking: boolean; problem: Partial<Problem> | null }
export const SILENCE: Talk = { turns: [], speaking: false, problem: null }

const EMPTY: Omit<Turn, 'id'> = {
  number: null,
  said: '',
  final: false,
  typed: false,
  language: null,
  confidence: null,
  reply: '',
  mode: null,
  interrupted: false,
  outcome: null,
  times: {},
  heard_ms: null,
  problem: null,
}

/** A message that was typed here: shown at once. */
export function typed(talk: Talk, text: string, id: string): Talk {
  return { ...talk, problem: null, turns: [...talk.turns, { ...EMPTY, id, said: text, final: true, typed: true }] }
}

/** Turns of an earlier visit. */
export function remembered(exchanges: { user: string; reply: string; mode?: string | null; language?: string | null }[]): Talk {
  const turns = exchanges.map((one, index): Turn => ({
    ...EMPTY,
    id: `past-${index}`,
    said: one.user,
    final: true,
    reply: one.reply,
    mode: one.mode ?? null,
    language: one.language ?? null,
    outcome: 'answered',
  }))
  return { ...SILENCE, turns }
}

/** The talk after an event. `connection` makes turn numbers of different connections distinct. */
export function after(talk: Talk, event: ServerEvent, connection: number): Talk {
  switch (event.type) {
    case 'vad':
      return { ...talk, speaking: event.speaking, problem: null }
    case 'transcript':
      if (!event.text && event.turn === undefined) return talk
      return change(talk, event.turn ?? null, connection, (turn) => ({
        ...turn,
        said: event.text || turn.said,
        final: event.final,
        language: event.language ?? turn.language,
        confidence: event.confidence ?? turn.confidence,
      }))
    case 'mode':
      return change(talk, event.turn, connection, (turn) => ({ ...turn, mode: event.mode }))
    case 'reply_delta':
      return change(talk, event.turn, connection, (turn) => ({ ...turn, reply: turn.reply + event.text }))
    case 'reply_text':
      return change(talk, event.turn, connection, (turn) => ({ ...turn, reply: event.text }))
    case 'interrupted': {
      if (event.turn === undefined) return talk
      const again = event.reason === 'restarted'
      return change(talk, event.turn, connection, (turn) => ({ ...turn, ...(again ? { reply: '' } : { interrupted: true }) }))
    }
    case 'turn_end': {
      if (event.turn === null) return talk
      const { endpointing_ms, transcript_ms, first_text_ms, first_audio_ms, total_ms } = event
      const times = { endpointing_ms, transcript_ms, first_text_ms, first_audio_ms, total_ms }
      const ended = change(talk, event.turn, connection, (turn) => ({ ...turn, outcome: event.outcome, times, final: true }))
      // what turned out to be no utterance leaves no bubble
      return { ...ended, turns: ended.turns.filter((turn) => turn.outcome === null || turn.said || turn.reply || turn.problem) }
    }
    case 'error': {
      const { type: _, ...problem } = event
      return { ...talk, problem }
    }
    default:
      return talk
  }
}

function change(talk: Talk, number: number | null, connection: number, how: (turn: Turn) => Turn): Talk {
  const id = `${connection}-${number}`
  let at = talk.turns.findIndex((turn) => turn.id === id)
  // the first word of a turn that was typed: it has no number yet
  if (at < 0) at = talk.turns.findIndex((turn) => turn.typed && turn.number === null && turn.outcome === null)
  if (at < 0) return { ...talk, turns: [...talk.turns, how({ ...EMPTY, id, number })] }
  const turns = [...talk.turns]
  turns[at] = how({ ...(turns[at] as Turn), id, number })
  return { ...talk, turns }
}

/** How long to wait before the next try to connect, or null where another try would end the same way. */
export function waitAfterClose(code: number, tries: number): number | null {
  if ([4401, 4404, 4408, 4422, 1008, 1009].includes(code)) return null
  return Math.min(15_000, 500 * 2 ** tries)
}
