/** Whether the server can be reached: noticed by requests that fail, and asked for until it answers again. */

import type { QueryClient } from '@tanstack/react-query'
import { create } from 'zustand'
import { ApiError } from '../api/client'
import { useSession } from './session'

const LOOK_MS = 2000

export type Connection = 'there' | 'offline' | 'away'
export const useConnection = create<{ state: Connection }>(() => ({ state: 'there' }))

let looking = false

/** To be told of every request that failed. */
export function noteFailure(error: unknown, queries: QueryClient): void {
  const status = error instanceof ApiError ? error.status : -1
  if (status !== 0 && status !== 502 && status !== 504) return
  useConnection.setState({ state: navigator.onLine ? 'away' : 'offline' })
  if (looking) return
  looking = true
  const timer = setInterval(async () => {
    const answer = await fetch('/api/v1/health', { cache: 'no-store' }).catch(() => null)
    if (!answer) return useConnection.setState({ state: navigator.onLine ? 'away' : 'offline' })
    clearInterval(timer)
    looking = false
    useConnection.setState({ state: 'there' })
    await useSession.getState().start() // what this key may do
    await queries.invalidateQueries()
  }, LOOK_MS)
}
