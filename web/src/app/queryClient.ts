import { MutationCache, QueryCache, QueryClient } from '@tanstack/react-query'
import { ApiError } from '../api/client'
import { noteFailure } from './connection'

export const queryClient: QueryClient = new QueryClient({
  queryCache: new QueryCache({ onError: (error) => noteFailure(error, queryClient) }),
  mutationCache: new MutationCache({ onError: (error) => noteFailure(error, queryClient) }),
  defaultOptions: {
    queries: {
      staleTime: 2000,
      refetchOnWindowFocus: true,
      networkMode: 'always', // the server may be this machine, network or not
      retry: (count, error) => error instanceof ApiError && error.status === 503 && count < 2,
    },
    mutations: { networkMode: 'always' },
  },
})
