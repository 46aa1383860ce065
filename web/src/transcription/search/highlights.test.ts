import { expect, test } from 'vitest'
import { piecesOf } from './highlights'

test('words are marked where they stand, also behind letters of two units', () => {
  expect(piecesOf('😀 teny soa', [[2, 6]])).toEqual([
    { text: '😀 ', marked: false },
    { text: 'teny', marked: true },
    { text: ' soa', marked: false },
  ])
})

test('nothing is lost or doubled where places touch or overlap', () => {
  const pieces = piecesOf('<b>abc', [[0, 3], [2, 5]])
  expect(pieces.map((one) => one.text).join('')).toBe('<b>abc')
  expect(piecesOf('abc', [])).toEqual([{ text: 'abc', marked: false }])
})
