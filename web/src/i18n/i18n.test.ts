import { expect, test } from 'vitest'
import { fill, preferred } from '.'
import en from './en'
import fr from './fr'
import mg from './mg'

const TABLES = { mg, fr, en }

test.each(Object.entries(TABLES))('%s has every text, none of them empty', (_, table) => {
  expect(Object.keys(table).sort()).toEqual(Object.keys(en).sort())
  for (const text of Object.values(table)) expect(text.trim()).not.toBe('')
})

test('a text takes the same values in every language', () => {
  const names = (text: string) => [...new Set(text.match(/\{\w+\}/g) ?? [])].sort()
  for (const [key, text] of Object.entries(en)) {
    for (const table of [mg, fr]) expect(names(table[key as keyof typeof en]), key).toEqual(names(text))
  }
})

test('values are filled in, and the form follows the number', () => {
  expect(fill('{n} file|{n} files', { n: 1 })).toBe('1 file')
  expect(fill('{n} file|{n} files', { n: 0 }, 'en')).toBe('0 files')
  expect(fill('{n} fichier|{n} fichiers', { n: 0 }, 'fr')).toBe('0 fichier')
  expect(fill('a {b}', {})).toBe('a {b}')
})

test('the language is the stored one, else the browser’s, else English', () => {
  expect(preferred('mg', ['fr-FR'])).toBe('mg')
  expect(preferred('xx', ['de', 'fr-CA', 'en'])).toBe('fr')
  expect(preferred(null, ['zh'])).toBe('en')
})
