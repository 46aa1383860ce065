/** For whoever runs this Milo: health, queues, jobs, keys, models. */

import { useQuery } from '@tanstack/react-query'
import { Link, Route, Switch, useLocation } from 'wouter'
import { send } from '../api/client'
import { span } from '../app/format'
import { Trouble } from '../app/Trouble'
import { type TextKey, useT } from '../i18n'
import { Badge, Card, Heading, Loading } from '../ui'
import { AlertList } from '../monitor/AlertList'
import { useStatus } from '../monitor/Monitor'
import { Jobs } from './Jobs'
import { Keys } from './Keys'
import { Models } from './Models'

const PARTS: { path: string; text: TextKey }[] = [
  { path: '/admin', text: 'admin.health' },
  { path: '/admin/jobs', text: 'admin.jobs' },
  { path: '/admin/keys', text: 'admin.keys' },
  { path: '/admin/models', text: 'admin.models' },
]

export default function Admin() {
  const t = useT()
  const [path] = useLocation()
  return (
    <>
      <Heading title={t('nav.admin')} />
      <nav aria-label={t('admin.parts')} className="mb-4 flex gap-1 overflow-x-auto border-b border-line">
        {PARTS.map((part) => (
          <Link
            key={part.path}
            href={part.path}
            aria-current={path === part.path ? 'page' : undefined}
            className={`-mb-px shrink-0 border-b-2 px-3 py-2 ${path === part.path ? 'border-accent font-semibold' : 'border-transparent text-muted hover:text-text'}`}
          >
            {t(part.text)}
          </Link>
        ))}
      </nav>
      <Switch>
        <Route path="/admin/jobs" component={Jobs} />
        <Route path="/admin/keys" component={Keys} />
        <Route path="/admin/models" component={Models} />
        <Route component={Health} />
      </Switch>
    </>
  )
}

type HealthDocument = {
  status: 'healthy' | 'degraded' | 'down'
  version: string
  checks: Record<string, { ok: boolean; detail: string }>
}
const TONES = { healthy: 'ok', degraded: 'warn', down: 'danger' } as const

function Health() {
  const t = useT()
  const health = useQuery({
    queryKey: ['health'],
    // a part that is down answers 503 with the same document
    queryFn: async ({ signal }) =>
      (await fetch('/api/v1/health', { signal, cache: 'no-store' }).catch(() => send('/health'))).json() as Promise<HealthDocument>,
    refetchInterval: 3000,
  })
  const status = useStatus()
  return (
    <div className="space-y-4">
      {health.isPending && <Loading label={t('state.loading')} />}
      {health.isError && <Trouble error={health.error} onRetry={() => void health.refetch()} />}
      {status.data && <AlertList alerts={status.data.alerts} />}
      <div className="grid grid-cols-[minmax(0,1fr)] items-start gap-4 lg:grid-cols-2">
        {health.data && (
          <Card>
            <div className="mb-2 flex items-center justify-between">
              <h2 className="font-semibold">{t('admin.health')}</h2>
              <Badge tone={TONES[health.data.status]}>{t(`health.${health.data.status}`)}</Badge>
            </div>
            <ul className="divide-y divide-line">
              {Object.entries(health.data.checks).map(([name, check]) => (
                <li key={name} className="flex items-start gap-3 py-2">
                  <Badge tone={check.ok ? 'ok' : 'danger'}>{t(check.ok ? 'health.ok' : 'health.bad')}</Badge>
                  <span className="min-w-0">
                    <span className="font-medium">{name}</span>
                    <span className="block text-sm break-words text-muted">{check.detail}</span>
                  </span>
                </li>
              ))}
            </ul>
            <p className="pt-2 text-sm text-muted">Milo {health.data.version}</p>
          </Card>
        )}
        {status.data && (
          <Card>
            <h2 className="mb-2 font-semibold">{t('admin.queues')}</h2>
            <div className="overflow-x-auto" tabIndex={0} role="region" aria-label={t('admin.queues')}>
            <table className="w-full text-left text-[0.95rem]">
              <thead className="text-sm text-muted">
                <tr>
                  <th className="py-1 pr-3 font-medium">{t('admin.queue')}</th>
                  <th className="py-1 pr-3 text-right font-medium">{t('admin.depth')}</th>
                  <th className="py-1 pr-3 text-right font-medium">{t('admin.oldest')}</th>
                  <th className="py-1 font-medium">{t('admin.workers')}</th>
                </tr>
              </thead>
              <tbody className="divide-y divide-line">
                {Object.entries(status.data.queues).map(([name, queue]) => (
                  <tr key={name}>
                    <td className="py-1.5 pr-3 font-mono text-sm">{name}</td>
                    <td className="py-1.5 pr-3 text-right tabular-nums">{queue.depth}</td>
                    <td className="py-1.5 pr-3 text-right tabular-nums">{queue.oldest_s === null ? '–' : span(queue.oldest_s)}</td>
                    <td className="py-1.5 text-sm">
                      {queue.workers.length ? queue.workers.join(', ') : <Badge tone="danger">{t('admin.nobody')}</Badge>}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
            </div>
          </Card>
        )}
      </div>
    </div>
  )
}
