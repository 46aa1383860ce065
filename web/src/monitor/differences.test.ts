import { expect, test } from 'vitest'
import { differences } from './differences'

const said = (wanted: string, heard: string) =>
  differences(wanted, heard).map(({ text, kind }) => ({ same: '', missing: '-', added: '+' })[kind] + text)

test('words that are not heard are missing, others are added, case and accents do not count', () => {
  expect(said('Salama, tompoko ô', 'salama izy tompoko')).toEqual(['salama', '+izy', 'tompoko', '-ô'])
  expect(said('', 'a')).toEqual(['+a'])
  expect(said('a b', '')).toEqual(['-a', '-b'])
})
