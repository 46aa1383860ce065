import { MutationCache, QueryCache, QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { StrictMode, useEffect } from 'react'
import { createRoot } from 'react-dom/client'
import { ApiError } from './api/client'
import { noteFailure } from './app/connection'
import { Login } from './app/Login'
import { keepClient, reloadForNewBuild } from './app/offline'
import { useSession } from './app/session'
import { Shell } from './app/Shell'
import { startLanguage, useT } from './i18n'
import './styles.css'
import { Loading } from './ui'

const queries: QueryClient = new QueryClient({
  queryCache: new QueryCache({ onError: (error) => noteFailure(error, queries) }),
  mutationCache: new MutationCache({ onError: (error) => noteFailure(error, queries) }),
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

function App() {
  const t = useT()
  const { state, start } = useSession()
  useEffect(() => void start(), [start])
  if (state === 'starting') return <Loading label={t('state.loading')} />
  return state === 'asking' ? <Login /> : <Shell />
}

reloadForNewBuild()
void startLanguage().then(() => {
  createRoot(document.getElementById('root') as HTMLElement).render(
    <StrictMode>
      <QueryClientProvider client={queries}>
        <App />
      </QueryClientProvider>
    </StrictMode>,
  )
  keepClient()
})
