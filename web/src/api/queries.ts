/** What several screens ask for. */

import { useQuery } from '@tanstack/react-query'
import { get } from './client'
import type { Model } from './types'

export function useModels(use: Model['use']): Model[] {
  const models = useQuery({
    queryKey: ['models'],
    queryFn: ({ signal }) => get<{ items: Model[] }>('/models', signal),
    staleTime: 60_000,
  })
  return models.data?.items.filter((model) => model.use === use) ?? []
}

/** The model that serves when none is named. */
export function useDefaultModel(use: Model['use']): Model | undefined {
  const models = useModels(use)
  return models.find((model) => model.default) ?? models[0]
}
