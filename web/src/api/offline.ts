/** Documents that were opened stay readable without a network, until the key is given back. */

import { noteFailure } from '../app/connection'
import { put, read } from '../app/device'
import { queryClient } from '../app/queryClient'
import { useSession } from '../app/session'
import { ApiError, get } from './client'

/** The document at `path`; the copy on this device when nobody answers. */
export async function getKept<T>(path: string, signal?: AbortSignal): Promise<T> {
  const key = `${useSession.getState().who?.name ?? ''} ${path}`
  try {
    const document = await get<T>(path, signal)
    void put('documents', key, document).catch(() => undefined)
    return document
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 0) throw error
    const kept = await read<T>('documents', key).catch(() => undefined)
    if (kept === undefined) throw error
    noteFailure(error, queryClient) // nothing failed on the page, but nobody answered
    return kept
  }
}
