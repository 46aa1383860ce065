import { QueryClientProvider } from '@tanstack/react-query'
import { StrictMode, useEffect } from 'react'
import { createRoot } from 'react-dom/client'
import { Login } from './app/Login'
import { keepClient, reloadForNewBuild } from './app/offline'
import { queryClient } from './app/queryClient'
import { Shell } from './app/Shell'
import { useSession } from './app/session'
import { startLanguage, useT } from './i18n'
import './styles.css'
import { Loading } from './ui'

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
      <QueryClientProvider client={queryClient}>
        <App />
      </QueryClientProvider>
    </StrictMode>,
  )
  keepClient()
})
