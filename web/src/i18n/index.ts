/** The texts of the client. One table a language, fetched when that language is chosen. */

import { create } from 'zustand'
import type en from './en'

export type TextKey = keyof typeof en
export type Texts = Record<TextKey, string>
export const LANGUAGES = { mg: 'Malagasy', fr: 'Français', en: 'English' } as const
export type Language = keyof typeof LANGUAGES

const TABLES: Record<Language, () => Promise<{ default: Texts }>> = {
  mg: () => import('./mg'),
  fr: () => import('./fr'),
  en: () => import('./en'),
}
const STORED = 'milo.language'

type State = { language: Language; texts: Texts }
const useTexts = create<State>(() => ({ language: 'en', texts: {} as Texts }))

export function isLanguage(value: unknown): value is Language {
  return typeof value === 'string' && value in LANGUAGES
}

/** The stored choice, else the first of the browser's languages that there is, else English. */
export function preferred(stored: string | null, asked: readonly string[]): Language {
  if (isLanguage(stored)) return stored
  return asked.map((tag) => tag.slice(0, 2).toLowerCase()).find(isLanguage) ?? 'en'
}

export async function startLanguage(): Promise<void> {
  await setLanguage(preferred(read(), navigator.languages), false)
}

export async function setLanguage(language: Language, store = true): Promise<void> {
  const texts = (await TABLES[language]()).default
  useTexts.setState({ language, texts })
  document.documentElement.lang = language
  if (!store) return
  try {
    localStorage.setItem(STORED, language)
  } catch {
    // chosen for this visit only
  }
}

function read(): string | null {
  try {
    return localStorage.getItem(STORED)
  } catch {
    return null
  }
}

export type Values = Record<string, string | number>

/** `{name}` is filled in; of `one|many` the form that fits `n` is taken. */
export function fill(text: string, values: Values = {}, language: Language = 'en'): string {
  const forms = text.split('|')
  const n = Number(values.n)
  // Malagasy nouns have one form for both numbers; its tables give one only
  const form = forms.length > 1 && new Intl.PluralRules(language).select(n) !== 'one' ? forms[1] : forms[0]
  return (form ?? text).replace(/\{(\w+)\}/g, (all, name: string) => String(values[name] ?? all))
}

export function useT(): (key: TextKey, values?: Values) => string {
  const { texts, language } = useTexts()
  return (key, values) => fill(texts[key] ?? key, values, language)
}

export function useLanguage(): Language {
  return useTexts((state) => state.language)
}
