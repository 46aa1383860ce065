/** Trainings as they run: how far, how well, and what the ten systems said about it. */

import { useQuery } from '@tanstack/react-query'
import { Link, Route, Switch } from 'wouter'
import { get } from '../api/client'
import { type Job, type Page, isFinal } from '../api/types'
import { size, span, when } from '../app/format'
import { Trouble } from '../app/Trouble'
import { type TextKey, useLanguage, useT } from '../i18n'
import { Badge, Card, Empty, Heading, Loading, Progress } from '../ui'
import { AlertList } from './AlertList'
import { Deploys } from './Deploys'
import { STATES, nameOf } from '../transcription/JobList'
import { TrainingPage } from './TrainingPage'
import type { Status, TrainingJob } from './types'

const LOOK_MS = 2000

export default function Monitor() {
  return (
    <Switch>
      <Route path="/monitor/:id">{({ id }) => <TrainingPage key={id} id={id} />}</Route>
      <Route>
        <Overview />
      </Route>
    </Switch>
  )
}

export function useStatus() {
  return useQuery({
    queryKey: ['status'],
    queryFn: ({ signal }) => get<Status>('/status', signal),
    refetchInterval: LOOK_MS,
  })
}

function Overview() {
  const t = useT()
  const language = useLanguage()
  const status = useStatus()
  return (
    <>
      <Heading title={t('nav.monitor')}>
        {status.data && (
          <span className="text-sm text-muted">
            {t('monitor.updated', { time: when(status.data.updated_at, language) })}
          </span>
        )}
      </Heading>
      {status.isPending && <Loading label={t('state.loading')} />}
      {status.isError && <Trouble error={status.error} onRetry={() => void status.refetch()} />}
      {status.data && (
        <div className="space-y-4">
          <AlertList alerts={status.data.alerts} />
          <div className="grid gap-4 lg:grid-cols-2">
            <Now status={status.data} />
            <Graphics status={status.data} />
          </div>
          <Trainings />
          <Deploys />
          <Evaluations />
        </div>
      )}
    </>
  )
}

export function Facts({ rows }: { rows: [string, string | number | null | undefined][] }) {
  return (
    <dl className="grid grid-cols-[auto_1fr] gap-x-4 gap-y-1">
      {rows.map(([name, value]) => (
        <div key={name} className="contents">
          <dt className="text-muted">{name}</dt>
          <dd className="min-w-0 text-right break-words tabular-nums">{value ?? '–'}</dd>
        </div>
      ))}
    </dl>
  )
}

const PHASES: Record<string, TextKey> = { idle: 'phase.idle', training: 'phase.training', evaluating: 'phase.evaluating' }

function Now({ status }: { status: Status }) {
  const t = useT()
  const { training } = status
  const phase = PHASES[status.phase]
  return (
    <Card>
      <div className="mb-2 flex items-center justify-between gap-2">
        <h2 className="font-semibold">{t('monitor.now')}</h2>
        <Badge tone={status.phase === 'idle' ? 'neutral' : 'accent'}>{phase ? t(phase) : status.phase}</Badge>
      </div>
      {training.step === null ? (
        <p className="text-muted">{t('monitor.noTraining')}</p>
      ) : (
        <>
          <div className="mb-3">
            <Progress value={(training.pct ?? 0) / 100} label={t('monitor.now')} />
          </div>
          <Facts
            rows={[
              [t('chart.step'), `${training.step} / ${training.total_steps ?? '?'}`],
              [t('chart.loss'), training.last_loss?.toPrecision(4)],
              [t('monitor.left'), training.eta_s === null ? null : span(training.eta_s)],
              [t('monitor.run'), training.run],
              [t('monitor.state'), training.state],
            ]}
          />
          {training.job && (
            <Link href={`/monitor/${training.job}`} className="mt-3 inline-block font-medium text-accent underline">
              {t('monitor.watch')}
            </Link>
          )}
        </>
      )}
      <p className="mt-3 border-t border-line pt-2 text-sm text-muted">{status.orchestrator_reason}</p>
    </Card>
  )
}

function Graphics({ status: { gpu, disk } }: { status: Status }) {
  const t = useT()
  return (
    <Card>
      <h2 className="mb-2 font-semibold">{t('monitor.machine')}</h2>
      <Facts
        rows={[
          [t('monitor.card'), gpu.name ?? t('monitor.noCard')],
          [t('monitor.used'), gpu.gpu_util_pct === null ? null : `${gpu.gpu_util_pct} %`],
          [
            t('monitor.memory'),
            gpu.vram_used_mb === null ? null : `${size(gpu.vram_used_mb * 1e6)} / ${size((gpu.vram_total_mb ?? 0) * 1e6)}`,
          ],
          [t('monitor.heat'), gpu.temp_c === null ? null : `${gpu.temp_c} °C`],
          [t('monitor.disk'), `${size(disk.free_bytes)} / ${size(disk.total_bytes)}`],
        ]}
      />
    </Card>
  )
}

function Trainings() {
  const t = useT()
  const language = useLanguage()
  const trainings = useQuery({
    queryKey: ['trainings'],
    queryFn: ({ signal }) => get<Page<TrainingJob>>('/trainings', signal),
    refetchInterval: LOOK_MS * 3,
  })
  const items = trainings.data?.items ?? []
  return (
    <section>
      <h2 className="mb-2 text-sm font-semibold text-muted">{t('monitor.trainings')}</h2>
      {trainings.isError && <Trouble error={trainings.error} onRetry={() => void trainings.refetch()} />}
      {trainings.isSuccess && !items.length && <Empty title={t('monitor.none')}>{t('monitor.noneHint')}</Empty>}
      {items.length > 0 && (
        <ul className="divide-y divide-line overflow-hidden rounded-xl border border-line bg-surface">
          {items.map((job) => (
            <li key={job.id}>
              <Link href={`/monitor/${job.id}`} className="block px-4 py-3 hover:bg-sunken/50">
                <span className="flex items-center gap-3">
                  <span className="min-w-0 grow truncate font-medium">{runName(job)}</span>
                  <Badge tone={STATES[job.state].tone}>{t(STATES[job.state].text)}</Badge>
                </span>
                <span className="flex flex-wrap gap-x-3 text-sm text-muted">
                  <span>{when(job.created_at, language)}</span>
                  {job.progress.total !== null && <span>{`${job.progress.done} / ${job.progress.total}`}</span>}
                  {job.error?.detail && <span className="text-danger">{job.error.detail}</span>}
                </span>
                {!isFinal(job) && job.progress.total ? (
                  <span className="mt-2 block">
                    <Progress value={job.progress.done / job.progress.total} label={runName(job)} />
                  </span>
                ) : null}
              </Link>
            </li>
          ))}
        </ul>
      )}
    </section>
  )
}

export function runName(job: TrainingJob): string {
  const recipe = job.payload.recipe as { name?: string } | undefined
  return recipe?.name ?? job.run?.id ?? nameOf(job)
}

type Report = { model: { label: string }; metric?: string; wer?: number; cer?: number; chrf?: number; status?: string }

function Evaluations() {
  const t = useT()
  const language = useLanguage()
  const evaluations = useQuery({
    queryKey: ['evaluations'],
    queryFn: ({ signal }) => get<Page<Job>>('/evaluations?limit=10', signal),
    refetchInterval: LOOK_MS * 5,
  })
  const items = evaluations.data?.items ?? []
  if (!items.length) return null
  const percent = (value: number | undefined) => (value === undefined ? '–' : `${(value * 100).toFixed(1)} %`)
  return (
    <section>
      <h2 className="mb-2 text-sm font-semibold text-muted">{t('monitor.evaluations')}</h2>
      <div className="overflow-x-auto rounded-xl border border-line bg-surface" tabIndex={0} role="region" aria-label={t('monitor.evaluations')}>
        <table className="w-full text-left text-[0.95rem]">
          <thead className="text-sm text-muted">
            <tr>
              {[t('monitor.model'), 'WER', 'CER', t('monitor.state'), t('monitor.when')].map((head) => (
                <th key={head} className="px-4 py-2 font-medium">
                  {head}
                </th>
              ))}
            </tr>
          </thead>
          <tbody className="divide-y divide-line">
            {items.map((job) => {
              const report = (job.result ?? {}) as Partial<Report>
              return (
                <tr key={job.id}>
                  <td className="px-4 py-2">{report.model?.label ?? String(job.payload.model ?? job.id)}</td>
                  <td className="px-4 py-2 tabular-nums">{percent(report.wer)}</td>
                  <td className="px-4 py-2 tabular-nums">{percent(report.cer)}</td>
                  <td className="px-4 py-2">
                    <Badge tone={STATES[job.state].tone}>{t(STATES[job.state].text)}</Badge>
                  </td>
                  <td className="px-4 py-2 text-muted">{when(job.created_at, language)}</td>
                </tr>
              )
            })}
          </tbody>
        </table>
      </div>
    </section>
  )
}
