/** Who is here: the key (in memory, for this tab, or on this device if asked), and what it may do. */

import { create } from 'zustand'
import { send, setSecret } from '../api/client'
import { empty } from './device'
import { queryClient } from './queryClient'

export type Scope = 'read' | 'write' | 'admin'
export type Who = { name: string; scopes: Scope[] }
export type SessionState = 'starting' | 'asking' | 'open'

const STORED = 'milo.key'
const LAST = 'milo.who'
const DEVELOPMENT_KEY = 'change-me-in-production'
/** Works from this machine only, and only while nobody has set MILO_API_KEY. */
const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]'])

type Session = {
  state: SessionState
  who: Who | null
  /** Why a key is asked for again. */
  ended: boolean
  signIn: (key: string, remember: boolean) => Promise<void>
  signOut: (ended?: boolean) => void
  start: () => Promise<void>
}

export const useSession = create<Session>((set, state) => ({
  state: 'starting',
  who: null,
  ended: false,

  async signIn(key, remember) {
    const who = await whoIs(key)
    setSecret(key, () => state().signOut(true))
    store(key, remember)
    set({ state: 'open', who, ended: false })
  },

  signOut(ended = false) {
    setSecret(null)
    forget()
    void empty('documents').catch(() => undefined)
    queryClient.clear() // the next key must not see what this one saw
    set({ state: 'asking', who: null, ended })
  },

  async start() {
    const key = stored()
    if (key) {
      setSecret(key, () => state().signOut(true))
      try {
        set({ state: 'open', who: await whoIs(key) })
      } catch (error) {
        // away or busy: go on with what is stored here; a wrong key is asked for again
        if (isRefusal(error)) return state().signOut(true)
        set({ state: 'open', who: lastWho() })
      }
      return
    }
    if (LOOPBACK.has(location.hostname) && (await works(DEVELOPMENT_KEY))) {
      return state().signIn(DEVELOPMENT_KEY, false)
    }
    set({ state: 'asking' })
  },
}))

export function useMay(scope: Scope): boolean {
  return useSession((session) => session.who?.scopes.includes(scope) ?? false)
}

function isRefusal(error: unknown): boolean {
  return [401, 403].includes((error as { status?: number }).status ?? 0)
}

async function whoIs(key: string): Promise<Who> {
  const answer = await send('/keys/current', { key })
  const { name, scopes } = (await answer.json()) as Who
  try {
    localStorage.setItem(LAST, JSON.stringify({ name, scopes }))
  } catch {
    // no storage
  }
  return { name, scopes }
}

/** Who used this key before: enough to read what is on this device while the server is away. */
function lastWho(): Who {
  try {
    const who = JSON.parse(localStorage.getItem(LAST) ?? '') as Who
    return { name: who.name, scopes: who.scopes.filter((scope) => scope !== 'admin') }
  } catch {
    return { name: '', scopes: ['read', 'write'] }
  }
}

function works(key: string): Promise<boolean> {
  return whoIs(key).then(
    () => true,
    () => false,
  )
}

function store(key: string, remember: boolean): void {
  try {
    sessionStorage.setItem(STORED, key)
    if (remember) localStorage.setItem(STORED, key)
    else localStorage.removeItem(STORED)
  } catch {
    // no storage: the key stays in memory
  }
}

function stored(): string | null {
  try {
    return sessionStorage.getItem(STORED) ?? localStorage.getItem(STORED)
  } catch {
    return null
  }
}

function forget(): void {
  try {
    sessionStorage.removeItem(STORED)
    localStorage.removeItem(STORED)
    localStorage.removeItem(LAST)
  } catch {
    // nothing was stored
  }
}
