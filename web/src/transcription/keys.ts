/** What the keys do beside a transcript. They are silent while somebody types. */

import { useEffect, useRef } from 'react'
import type { TextKey } from '../i18n'

type Key = { does: string; keys: string[]; shown: string[]; text: TextKey; ctrl?: boolean; shift?: boolean }

export const KEYS = [
  { does: 'toggle', keys: [' ', 'k'], shown: ['Space'], text: 'keys.toggle' },
  { does: 'back', keys: ['ArrowLeft'], shown: ['←'], text: 'keys.back' },
  { does: 'forward', keys: ['ArrowRight'], shown: ['→'], text: 'keys.forward' },
  { does: 'previous', keys: ['p'], shown: ['P'], text: 'keys.previous' },
  { does: 'next', keys: ['n'], shown: ['N'], text: 'keys.next' },
  { does: 'doubtful', keys: ['d'], shown: ['D'], text: 'keys.doubtful' },
  { does: 'slower', keys: ['[', ','], shown: ['['], text: 'keys.slower' },
  { does: 'faster', keys: [']', '.'], shown: [']'], text: 'keys.faster' },
  { does: 'find', keys: ['/'], shown: ['/'], text: 'keys.find' },
  { does: 'replace', keys: ['r'], shown: ['R'], text: 'keys.replace' },
  { does: 'edit', keys: ['e', 'Enter'], shown: ['E', 'Enter'], text: 'keys.edit' },
  { does: 'split', keys: ['s'], shown: ['S'], text: 'keys.split' },
  { does: 'merge', keys: ['m'], shown: ['M'], text: 'keys.merge' },
  { does: 'remove', keys: ['Delete'], shown: ['Del'], text: 'keys.remove' },
  { does: 'speaker', keys: ['w'], shown: ['W'], text: 'keys.speaker' },
  { does: 'cues', keys: ['c'], shown: ['C'], text: 'keys.cues' },
  { does: 'history', keys: ['h'], shown: ['H'], text: 'keys.history' },
  { does: 'redo', keys: ['z'], ctrl: true, shift: true, shown: ['Ctrl', 'Shift', 'Z'], text: 'keys.redo' },
  { does: 'redo', keys: ['y'], ctrl: true, shown: ['Ctrl', 'Y'], text: 'keys.redo' },
  { does: 'undo', keys: ['z'], ctrl: true, shown: ['Ctrl', 'Z'], text: 'keys.undo' },
  { does: 'help', keys: ['?'], shown: ['?'], text: 'keys.help' },
] as const satisfies Key[]

/** What the keys do in a text that is being edited: shown beside the others. */
export const KEYS_IN_TEXT = [
  { shown: ['Enter'], text: 'keys.save' },
  { shown: ['Ctrl', 'Enter'], text: 'keys.splitHere' },
  { shown: ['Esc'], text: 'keys.discard' },
] as const satisfies Pick<Key, 'shown' | 'text'>[]

export type Action = (typeof KEYS)[number]['does']
type Pressed = Pick<KeyboardEvent, 'key' | 'ctrlKey' | 'altKey' | 'metaKey' | 'shiftKey'>

/** What a key press means; nothing where it belongs to the control that has the focus. */
export function actionOf(event: Pressed, on: string): Action | null {
  if (event.altKey || ['INPUT', 'TEXTAREA', 'SELECT', 'DIALOG'].includes(on)) return null
  if (['BUTTON', 'A', 'SUMMARY'].includes(on) && [' ', 'Enter'].includes(event.key)) return null
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key
  const ctrl = event.ctrlKey || event.metaKey
  const fits = (one: Key) => one.keys.includes(key) && (one.ctrl ?? false) === ctrl && (!ctrl || (one.shift ?? false) === event.shiftKey)
  return KEYS.find(fits)?.does ?? null
}

export function useKeys(actions: Record<Action, () => void>): void {
  const latest = useRef(actions)
  latest.current = actions
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (document.querySelector('dialog[open]')) return
      const action = actionOf(event, (event.target as HTMLElement).tagName ?? '')
      if (!action) return
      event.preventDefault()
      latest.current[action]()
    }
    addEventListener('keydown', press)
    return () => removeEventListener('keydown', press)
  }, [])
}
