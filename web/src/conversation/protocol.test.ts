import { expect, test } from 'vitest'
import { SILENCE, type ServerEvent, type Talk, after, remembered, typed, waitAfterClose } from './protocol'

const play = (events: ServerEvent[], from: Talk = SILENCE) => events.reduce((talk, event) => after(talk, event, 1), from)

test('partial transcripts, the final one and the reply are one turn', () => {
  const { turns } = play([
    { type: 'vad', speaking: true },
    { type: 'transcript', turn: 1, text: 'Salama', final: false },
    { type: 'transcript', turn: 1, text: 'Salama tompoko', final: true, language: 'mg', confidence: 0.9 },
    { type: 'mode', turn: 1, mode: 'local' },
    { type: 'reply_delta', turn: 1, text: 'Manao ' },
    { type: 'reply_delta', turn: 1, text: 'ahoana?' },
    { type: 'turn_end', turn: 1, outcome: 'answered', job_id: 'job_1', total_ms: 900 },
  ])
  expect(turns).toHaveLength(1)
  expect(turns[0]).toMatchObject({ said: 'Salama tompoko', final: true, reply: 'Manao ahoana?', mode: 'local', outcome: 'answered' })
  expect(turns[0]?.times.total_ms).toBe(900)
})

test('a typed message takes the number of the turn that answers it', () => {
  const talk = play([{ type: 'reply_text', turn: 4, text: 'Eny' }], typed(SILENCE, 'Misaotra', 'x'))
  expect(talk.turns).toMatchObject([{ number: 4, said: 'Misaotra', reply: 'Eny' }])
})

test('a reply that comes again begins anew; one that was spoken over stays as far as it came', () => {
  const talk = play([
    { type: 'reply_delta', turn: 1, text: 'Half a' },
    { type: 'interrupted', turn: 1, reason: 'restarted' },
    { type: 'reply_delta', turn: 1, text: 'Whole' },
    { type: 'interrupted', turn: 1, reason: 'speech' },
  ])
  expect(talk.turns[0]).toMatchObject({ reply: 'Whole', interrupted: true })
})

test('what was no utterance leaves nothing, and turns of another connection are others', () => {
  expect(play([{ type: 'turn_end', turn: 2, outcome: 'nothing_heard', job_id: null }]).turns).toEqual([])
  const first = play([{ type: 'transcript', turn: 1, text: 'a', final: true }])
  expect(after(first, { type: 'transcript', turn: 1, text: 'b', final: true }, 2).turns.map((turn) => turn.said)).toEqual(['a', 'b'])
})

test('exchanges of an earlier visit are shown', () => {
  expect(remembered([{ user: 'a', reply: 'b' }]).turns).toMatchObject([{ said: 'a', reply: 'b', outcome: 'answered' }])
})

test('it connects again after a restart, and not after a refusal', () => {
  expect([waitAfterClose(1012, 0), waitAfterClose(1006, 3), waitAfterClose(1006, 20)]).toEqual([500, 4000, 15_000])
  expect([4401, 4404, 4408].map((code) => waitAfterClose(code, 0))).toEqual([null, null, null])
})
