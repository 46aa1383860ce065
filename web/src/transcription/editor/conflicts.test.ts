import { expect, test } from 'vitest'
import type { Changes, Revision, Segment } from '../../api/types'
import { type Step, ahead, chosen, rebased, renamed, without } from './conflicts'
import type { Operation } from './operations'

const said = (id: number, text: string): Segment => ({ id, start: id, end: id + 0.9, text, confidence: 1, words: [] })
const BASE = [said(0, 'iray'), said(1, 'roa'), said(2, 'telo roa')]

function step(...operations: Operation[]): Step {
  return { key: 'k', action: 'edit', operations, newId: -1 }
}
function revision(number: number, changes: Partial<Changes>): Revision {
  return {
    transcript_id: 'job',
    revision: number,
    action: 'edit',
    state: number,
    author: 'Bao',
    created_at: '2026-11-28T09:00:00Z',
    operations: [],
    url: '',
    changes: { fields: [], splices: [], ...changes },
  }
}
const theirText = (segment: number, text: string) => ({ fields: [{ segment, before: {}, after: { text } }] })

test('edits of different passages go together without a question', () => {
  const pending = [step({ op: 'text', segment: 0, text: 'IRAY' })]
  const { base, conflicts } = rebased(BASE, pending, [revision(1, theirText(1, 'ROA'))])
  expect(conflicts).toEqual([])
  expect(ahead(base, pending).map((one) => one.text)).toEqual(['IRAY', 'ROA', 'telo roa'])
})

test('who speaks and what is said are no conflict', () => {
  const pending = [step({ op: 'text', segment: 0, text: 'IRAY' })]
  const named = revision(1, { fields: [{ segment: 0, before: {}, after: { speaker: 'Lala' } }] })
  expect(rebased(BASE, pending, [named]).conflicts).toEqual([])
})

test('two texts of one passage are shown with who and when, unless they are the same', () => {
  const pending = [step({ op: 'text', segment: 0, text: 'ahy' })]
  const { base, conflicts } = rebased(BASE, pending, [revision(1, theirText(0, 'azy'))])
  expect(conflicts).toMatchObject([{ segments: [0], mine: 'ahy', theirs: [{ text: 'azy' }], author: 'Bao' }])
  expect(base[0]?.text).toBe('azy')
  expect(rebased(BASE, pending, [revision(1, theirText(0, 'ahy'))]).conflicts).toEqual([])
  expect(without(pending, conflicts)).toEqual([])
})

test('what was chosen is an operation; a passage that they removed comes back where it was', () => {
  const gone = revision(1, { splices: [{ at: 0, removed: [BASE[0] as Segment], added: [] }] })
  const pending = [step({ op: 'text', segment: 0, text: 'ahy' })]
  const [conflict] = rebased(BASE, pending, [gone]).conflicts
  if (!conflict) throw new Error('no conflict')
  expect(conflict.theirs).toEqual([])
  expect(chosen(conflict, 'ahy')).toEqual([{ op: 'insert', start: 0, end: 0.9, text: 'ahy', speaker: null }])
  expect(chosen(conflict, null)).toEqual([])
  const both = { ...conflict, theirs: [said(0, 'azy')] }
  expect(chosen(both, 'azy')).toEqual([])
  expect(chosen(both, 'ahy')).toEqual([{ op: 'text', segment: 0, text: 'ahy' }])
  expect(chosen(both, null)).toEqual([{ op: 'delete', segment: 0 }])
})

test('passages that I made one, or two, are chosen as a whole: no word of either is lost', () => {
  const merge = [step({ op: 'merge', segment: 0 }), step({ op: 'text', segment: 0, text: 'iray sy roa' })]
  const [one] = rebased(BASE, merge, [revision(1, theirText(1, 'ROA'))]).conflicts
  if (!one) throw new Error('no conflict')
  expect(one).toMatchObject({ segments: [0, 1], mine: 'iray sy roa', theirs: [{ text: 'iray' }, { text: 'ROA' }] })
  expect(chosen(one, 'iray sy ROA')).toEqual([
    { op: 'text', segment: 0, text: 'iray sy ROA' },
    { op: 'delete', segment: 1 },
  ])
  const split = [step({ op: 'split', segment: 2, word: 1 }), step({ op: 'text', segment: -1, text: 'efatra' })]
  const { conflicts } = rebased(BASE, split, [revision(1, theirText(2, 'telo'))])
  expect(conflicts).toMatchObject([{ segments: [2, -1], mine: 'telo efatra' }])
  expect(without(split, conflicts)).toEqual([])
})

test('an edit of a new passage waits for its id', () => {
  const done = step({ op: 'split', segment: 2, word: 1 })
  const waiting = [step({ op: 'text', segment: -1, text: 'vaovao' }), step({ op: 'speaker', segments: [-1, 0], speaker: 'A' })]
  const changes: Changes = { fields: [], splices: [{ at: 3, removed: [], added: [said(7, 'roa')] }] }
  const { steps, ids } = renamed(waiting, done, changes)
  expect(steps.map((one) => one.operations[0])).toEqual([
    { op: 'text', segment: 7, text: 'vaovao' },
    { op: 'speaker', segments: [7, 0], speaker: 'A' },
  ])
  expect([...ids]).toEqual([[-1, 7]])
})
