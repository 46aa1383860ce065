/** What is around every screen: the way to the others, language, theme, key, and whether the server is there. */

import { Suspense, lazy } from 'react'
import { Link, Redirect, Route, Switch, useLocation } from 'wouter'
import { type TextKey, useT } from '../i18n'
import { IconButton, Loading, Notice } from '../ui'
import { Icon, type IconName } from '../ui/icons'
import { Choices } from './Choices'
import { useConnection } from './connection'
import { ErrorBoundary } from './ErrorBoundary'
import { type Scope, useSession } from './session'

type Screen = { path: string; icon: IconName; text: TextKey; scope: Scope }
const SCREENS: Screen[] = [
  { path: '/conversation', icon: 'conversation', text: 'nav.conversation', scope: 'write' },
  { path: '/transcription', icon: 'transcription', text: 'nav.transcription', scope: 'read' },
  { path: '/speech', icon: 'speech', text: 'nav.speech', scope: 'write' },
  { path: '/monitor', icon: 'monitor', text: 'nav.monitor', scope: 'read' },
  { path: '/admin', icon: 'admin', text: 'nav.admin', scope: 'admin' },
]

const Conversation = lazy(() => import('../conversation/Conversation'))
const Transcription = lazy(() => import('../transcription/Transcription'))
const Speech = lazy(() => import('../speech/Speech'))
const Monitor = lazy(() => import('../monitor/Monitor'))
const Admin = lazy(() => import('../admin/Admin'))

export function Shell() {
  const t = useT()
  const scopes = useSession((session) => session.who?.scopes ?? [])
  const screens = SCREENS.filter((screen) => scopes.includes(screen.scope))
  return (
    <div className="md:grid md:min-h-dvh md:grid-cols-[13rem_1fr]">
      <a
        href="#content"
        className="sr-only z-30 rounded-lg bg-accent px-4 py-2 text-on-accent focus:not-sr-only focus:fixed focus:top-2 focus:left-2"
      >
        {t('nav.skip')}
      </a>
      <Sidebar screens={screens} />
      <div className="flex min-h-dvh min-w-0 flex-col">
        <Header />
        <main id="content" tabIndex={-1} className="mx-auto w-full max-w-6xl grow px-4 pt-3 pb-24 outline-none md:pb-8">
          <ConnectionNotice />
          <ErrorBoundary>
            <Suspense fallback={<Loading label={t('state.loading')} />}>
              <Switch>
                {scopes.includes('write') && <Route path="/conversation" component={Conversation} />}
                {scopes.includes('read') && <Route path="/transcription/*?" component={Transcription} />}
                {scopes.includes('write') && <Route path="/speech" component={Speech} />}
                {scopes.includes('read') && <Route path="/monitor/*?" component={Monitor} />}
                {scopes.includes('admin') && <Route path="/admin/*?" component={Admin} />}
                <Route path="/">{screens[0] && <Redirect to={screens[0].path} replace />}</Route>
                <Route>
                  <p className="py-10 text-center text-muted">{t('trouble.404')}</p>
                </Route>
              </Switch>
            </Suspense>
          </ErrorBoundary>
        </main>
      </div>
      <Tabs screens={screens} />
    </div>
  )
}

function Sidebar({ screens }: { screens: Screen[] }) {
  const t = useT()
  return (
    <nav
      aria-label={t('nav.label')}
      className="sticky top-0 hidden h-dvh flex-col gap-1 border-r border-line bg-surface p-3 md:flex"
    >
      <div className="mb-3 flex items-center gap-2.5 px-2 pt-1">
        <img src="/icons/icon.svg" alt="" className="size-8" />
        <span className="text-lg font-semibold">Milo</span>
      </div>
      {screens.map((screen) => (
        <Entry key={screen.path} screen={screen} className="flex items-center gap-3 rounded-lg px-3 py-2.5" />
      ))}
      <a href="/docs" className="mt-auto rounded-lg px-3 py-2 text-sm text-muted hover:bg-sunken hover:text-text">
        {t('nav.api')}
      </a>
    </nav>
  )
}

function Tabs({ screens }: { screens: Screen[] }) {
  const t = useT()
  return (
    <nav
      aria-label={t('nav.label')}
      className="fixed inset-x-0 bottom-0 z-20 flex border-t border-line bg-surface pb-[env(safe-area-inset-bottom)] md:hidden"
    >
      {screens.map((screen) => (
        <Entry
          key={screen.path}
          screen={screen}
          className="flex min-h-14 flex-1 flex-col items-center justify-center gap-0.5 text-[0.68rem]"
        />
      ))}
    </nav>
  )
}

function Entry({ screen, className }: { screen: Screen; className: string }) {
  const t = useT()
  const [path] = useLocation()
  const here = path === screen.path || path.startsWith(`${screen.path}/`)
  return (
    <Link
      href={screen.path}
      aria-current={here ? 'page' : undefined}
      className={`${className} ${here ? 'font-semibold text-accent md:bg-accent-soft md:text-text' : 'text-muted hover:text-text md:hover:bg-sunken'}`}
    >
      <Icon name={screen.icon} />
      <span className="max-w-full truncate px-0.5">{t(screen.text)}</span>
    </Link>
  )
}

function Header() {
  const t = useT()
  const { who, signOut } = useSession()
  return (
    <header className="mx-auto flex w-full max-w-6xl items-center gap-1 px-4 py-1.5">
      <img src="/icons/icon.svg" alt="" className="mr-2 size-7 md:hidden" />
      <span className="mr-auto font-semibold md:hidden">Milo</span>
      <span className="hidden md:mr-auto md:block" />
      <Choices />
      <span className="hidden max-w-40 truncate pl-2 text-sm text-muted sm:block" title={t('nav.key')}>
        {who?.name}
      </span>
      <IconButton label={t('nav.signOut')} onClick={() => signOut()}>
        <Icon name="exit" />
      </IconButton>
    </header>
  )
}

function ConnectionNotice() {
  const t = useT()
  const state = useConnection((connection) => connection.state)
  if (state === 'there') return null
  return (
    <div className="mb-4">
      <Notice tone="warn" urgent>
        {t(state === 'offline' ? 'connection.offline' : 'connection.away')}
      </Notice>
    </div>
  )
}
