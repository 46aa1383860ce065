/** One training: its lines grow while it runs. */

import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Suspense, lazy, useEffect, useMemo, useState } from 'react'
import { Link } from 'wouter'
import { get } from '../api/client'
import { follow } from '../api/events'
import { isFinal } from '../api/types'
import { span, when } from '../app/format'
import { Trouble } from '../app/Trouble'
import { useLanguage, useT } from '../i18n'
import { Badge, Card, Loading, Notice, Progress } from '../ui'
import { Icon } from '../ui/icons'
import { JobAction, STATES } from '../transcription/JobList'
import { Facts, runName } from './Monitor'
import { Previews } from './Previews'
import { CHARTS, seriesOf } from './series'
import type { Row, TrainingJob } from './types'

const Chart = lazy(() => import('./Chart'))
const DRAW_MS = 500

export function TrainingPage({ id }: { id: string }) {
  const t = useT()
  const training = useQuery({
    queryKey: ['training', id],
    queryFn: ({ signal }) => get<TrainingJob>(`/trainings/${id}`, signal),
    refetchInterval: (query) => (query.state.data && isFinal(query.state.data) ? false : 2000),
  })
  const { rows, alerts, error } = useRows(id)
  return (
    <>
      <Link href="/monitor" className="mb-2 inline-flex items-center gap-1 rounded-lg py-1 pr-2 text-sm text-muted hover:text-text">
        <Icon name="back" className="size-4" />
        {t('nav.monitor')}
      </Link>
      {training.isPending && <Loading label={t('state.loading')} />}
      {training.isError && <Trouble error={training.error} onRetry={() => void training.refetch()} />}
      {error !== null && !training.isError && <Trouble error={error} />}
      {training.data && <Opened job={training.data} rows={rows} alerts={alerts} />}
    </>
  )
}

/** The rows of a run so far and to come, handed on twice a second at most. */
function useRows(id: string) {
  const queries = useQueryClient()
  const [state, setState] = useState<{ rows: Row[]; alerts: Row[] }>({ rows: [], alerts: [] })
  const [error, setError] = useState<unknown>(null)
  useEffect(() => {
    const leaving = new AbortController()
    let rows: Row[] = []
    let alerts: Row[] = []
    let timer: ReturnType<typeof setTimeout> | undefined
    const flush = () => {
      timer = undefined
      setState({ rows, alerts })
    }
    const onEvent = (event: string, data: unknown) => {
      if (event === 'metrics') rows = [...rows, data as Row]
      else if (event === 'alert') alerts = [...alerts, data as Row]
      else if (event === 'job') queries.setQueryData(['training', id], data)
      timer ??= setTimeout(flush, DRAW_MS)
    }
    follow(`/trainings/${id}/events`, onEvent, leaving.signal).catch(setError)
    return () => {
      leaving.abort()
      clearTimeout(timer)
    }
  }, [id, queries])
  return { ...state, error }
}

function Opened({ job, rows, alerts }: { job: TrainingJob; rows: Row[]; alerts: Row[] }) {
  const t = useT()
  const language = useLanguage()
  const charts = useMemo(
    () =>
      CHARTS.map(({ title, names, factor }) => ({
        title,
        series: names.map((name) => seriesOf(rows, name, factor)).filter((one) => one.steps.length > 0),
      })).filter((chart) => chart.series.length > 0),
    [rows],
  )
  const summary = job.run?.summary ?? {}
  const done = Number(summary.step ?? job.progress.done)
  const total = Number(summary.total_steps ?? job.progress.total ?? 0)
  const left = (summary.eta_s as number | null | undefined) ?? job.eta_s
  const best = summary.best as { step?: number; metric?: string; value?: number } | undefined
  return (
    <>
      <div className="mb-3 flex flex-wrap items-center gap-3">
        <h1 className="min-w-0 grow text-xl font-semibold break-words">{runName(job)}</h1>
        <Badge tone={STATES[job.state].tone}>{t(STATES[job.state].text)}</Badge>
        <JobAction job={job} />
      </div>
      {job.error?.detail && (
        <div className="mb-3">
          <Notice tone="danger">{job.error.detail}</Notice>
        </div>
      )}
      <Card className="mb-4">
        {total ? (
          <div className="mb-3">
            <Progress value={done / total} label={runName(job)} />
          </div>
        ) : null}
        <Facts
          rows={[
            [t('chart.step'), `${done} / ${total || '?'}`],
            [t('monitor.left'), left === null || isFinal(job) ? null : span(left)],
            [t('monitor.best'), best?.value === undefined ? null : `${best.metric ?? ''} ${best.value} (${best.step ?? ''})`],
            [t('monitor.run'), job.run?.id],
            [t('monitor.started'), when(job.started_at, language)],
          ]}
        />
      </Card>
      <Suspense fallback={<Loading label={t('state.loading')} />}>
        <div className="grid gap-4 lg:grid-cols-2">
          {charts.map((chart) => (
            <Card key={chart.title}>
              <Chart title={t(chart.title)} series={chart.series} />
            </Card>
          ))}
        </div>
      </Suspense>
      {!charts.length && <p className="py-6 text-center text-muted">{t('monitor.noSteps')}</p>}
      <Previews id={job.id} running={!isFinal(job)} />
      {alerts.length > 0 && (
        <section className="mt-4">
          <h2 className="mb-2 text-sm font-semibold text-muted">{t('monitor.mended')}</h2>
          <ul className="divide-y divide-line rounded-xl border border-line bg-surface">
            {alerts.slice(-30).reverse().map((alert, index) => (
              <li key={index} className="px-4 py-2 text-[0.95rem]">
                <span className="mr-3 text-sm text-muted">{when(alert.at as string | undefined, language)}</span>
                {[alert.seen, alert.done].filter(Boolean).join(' → ') || String(alert.kind)}
              </li>
            ))}
          </ul>
        </section>
      )}
    </>
  )
}
