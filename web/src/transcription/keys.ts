/** What the keys do beside a transcript. They are silent while somebody types, and with Ctrl, Alt or Meta. */

import { useEffect, useRef } from 'react'
import type { TextKey } from '../i18n'

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
  { does: 'help', keys: ['?'], shown: ['?'], text: 'keys.help' },
] as const satisfies { does: string; keys: string[]; shown: string[]; text: TextKey }[]

export type Action = (typeof KEYS)[number]['does']

/** What a key press means; nothing where it belongs to the control that has the focus. */
export function actionOf(event: Pick<KeyboardEvent, 'key' | 'ctrlKey' | 'altKey' | 'metaKey'>, on: string): Action | null {
  if (event.ctrlKey || event.altKey || event.metaKey) return null
  if (['INPUT', 'TEXTAREA', 'SELECT', 'DIALOG'].includes(on)) return null
  if (on === 'BUTTON' && event.key === ' ') return null
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key
  return KEYS.find((one) => (one.keys as readonly string[]).includes(key))?.does ?? null
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
