/** Who is here: the key (in memory, for this tab, or on this device if asked), and what it may do. */

import { create } from 'zustand'
import { post, send, setSecret } from '../api/client'
import { empty } from './device'
import { queryClient } from './queryClient'

export type Scope = 'read' | 'write' | 'admin'
export type Who = { name: string; scopes: Scope[] }
export type SessionState = 'starting' | 'asking' | 'open'

const STORED = 'milo.key'
const LAST = 'milo.who'

type Session = {
  state: SessionState
  who: Who | null
  /** A key is asked for again because the last one ended. */
  ended: boolean
  /** Why the link that was opened gave no key. */
  trouble: unknown
  signIn: (key: string, remember: boolean) => Promise<void>
  signOut: (ended?: boolean) => void
  start: () => Promise<void>
}

export const useSession = create<Session>((set, state) => ({
  state: 'starting',
  who: null,
  ended: false,
  trouble: null,

  async signIn(key, remember) {
    const who = await whoIs(key)
    setSecret(key, () => state().signOut(true))
    store(key, remember)
    set({ state: 'open', who, ended: false, trouble: null })
  },

  signOut(ended = false) {
    setSecret(null)
    forget()
    void empty('documents').catch(() => undefined)
    queryClient.clear() // the next key must not see what this one saw
    set({ state: 'asking', who: null, ended, trouble: null })
  },

  async start() {
    const ticket = takeTicket()
    if (ticket) {
      try {
        return await state().signIn(await exchange(ticket), false)
      } catch (error) {
        if (!stored()) return set({ state: 'asking', trouble: error })
      }
    }
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
    set({ state: 'asking' })
  },
}))

export function useMay(scope: Scope): boolean {
  return useSession((session) => session.who?.scopes.includes(scope) ?? false)
}

/** What stands behind `#once=` in a link of `milo web`; it is dropped from the address and the history at once. */
function takeTicket(): string | null {
  const ticket = /^#once=(.+)$/.exec(location.hash)?.[1]
  if (!ticket) return null
  history.replaceState(null, '', location.pathname)
  return decodeURIComponent(ticket)
}

/** A key of this page's own for a ticket that counts once. */
async function exchange(once: string): Promise<string> {
  return (await post<{ secret: string }>('/web/keys', { once }, { key: '' })).secret
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
