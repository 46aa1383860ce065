import { expect, test } from 'vitest'
import type { Segment } from '../../api/types'
import { applied, common, replayed } from './operations'

const word = (text: string, start: number) => ({ word: ` ${text}`, start, end: start + 0.4, probability: 0.5 })
function said(id: number, text: string): Segment {
  const words = text.split(' ').map((one, at) => word(one, 2 * id + at / 2))
  return { id, start: 2 * id, end: 2 * id + 1.9, text, confidence: 1, words }
}
const SAID = [said(0, 'salama tompoko'), said(1, 'inona no vaovao'), said(2, 'tsy misy')]
const texts = (segments: Segment[]) => segments.map((one) => one.text)

test('a text keeps the times of the words that did not change, and the other segments stay the same objects', () => {
  const after = applied(SAID, [{ op: 'text', segment: 1, text: '  Inona, ry  namana, no vaovao ' }], -1)
  expect(after[1]?.text).toBe('Inona, ry namana, no vaovao')
  expect(after[1]?.words.map((one) => one.word)).toEqual([' Inona,', ' ry', ' namana,', ' no', ' vaovao'])
  expect(after[1]?.words.map((one) => one.interpolated ?? false)).toEqual([false, true, true, false, false])
  expect(after[1]?.words[3]?.start).toBe(2.5)
  const starts = after[1]?.words.map((one) => one.start) ?? []
  expect(starts).toEqual([...starts].sort((a, b) => a - b))
  expect(after[0]).toBe(SAID[0])
})

test('a segment is split, and merged again', () => {
  const split = applied(SAID, [{ op: 'split', segment: 1, word: 1 }], -5)
  expect(split.map((one) => [one.id, one.text])).toEqual([
    [0, 'salama tompoko'],
    [1, 'inona'],
    [-5, 'no vaovao'],
    [2, 'tsy misy'],
  ])
  expect(split[2]?.start).toBe(2.5)
  expect(texts(applied(split, [{ op: 'merge', segment: 1 }], -6))).toEqual(texts(SAID))
  expect(applied(SAID, [{ op: 'split', segment: 1, word: 3 }], -1)).toEqual(SAID)
})

test('speakers are named, one passage or all, and two become one', () => {
  const named = applied(SAID, [{ op: 'speaker', segments: [0, 2], speaker: 'Bao' }], -1)
  expect(named.map((one) => one.speaker)).toEqual(['Bao', undefined, 'Bao'])
  const renamed = applied(named, [{ op: 'rename_speaker', speaker: 'Bao', to: 'Lala' }], -1)
  expect(renamed.map((one) => one.speaker)).toEqual(['Lala', undefined, 'Lala'])
})

test('several operations in one; those on segments that are gone do nothing', () => {
  const after = applied(
    SAID,
    [
      { op: 'delete', segment: 0 },
      { op: 'text', segment: 0, text: 'x' },
      { op: 'insert', start: 3.9, end: 4, text: 'teny vaovao' },
      { op: 'text', segment: 2, text: 'misy' },
    ],
    -1,
  )
  expect(texts(after)).toEqual(['inona no vaovao', 'teny vaovao', 'misy'])
})

test('what a revision changed is replayed, fields first, then splices from behind', () => {
  const changes = {
    fields: [{ segment: 0, before: {}, after: { text: 'veloma' } }],
    splices: [
      { at: 0, removed: [], added: [said(7, 'aloha')] },
      { at: 1, removed: [SAID[1] as Segment], added: [said(8, 'iray'), said(9, 'roa')] },
    ],
  }
  expect(texts(replayed(SAID, changes))).toEqual(['aloha', 'veloma', 'iray', 'roa', 'tsy misy'])
})

test('the longest common subsequence', () => {
  expect(common(['a', 'b', 'c', 'd'], ['x', 'b', 'd'])).toEqual([
    [1, 1],
    [3, 2],
  ])
  expect(common([], ['a'])).toEqual([])
})
